/**
 * What a server needs to run the data of a base backup, noted at its source while the backup was taken, so that a restore can be checked against
 * its host before a byte is fetched. JSON-safe.
 */

/** How a database of the source orders text. */
export interface DatabaseLocale {
  readonly database: string;
  /** `builtin` orders by code point and depends on no library. */
  readonly provider: 'libc' | 'icu' | 'builtin';
  /** LC_COLLATE, or ICU's locale. */
  readonly locale: string;
  /** As PostgreSQL recorded it when the database was made; null where it has none (before 15, and for C). */
  readonly version: string | null;
}

/** An extension of one database. */
export interface InstalledExtension {
  readonly database: string;
  readonly name: string;
  readonly version: string;
}

/** The record. */
export interface SourceRecord {
  /** By the source's clock, RFC 3339. */
  readonly recordedAt: string;
  /** As `SELECT version()` gives it. */
  readonly version: string;
  /** Of the processor, in Node's word: `x64`, `arm64`. */
  readonly architecture: string;
  /** `2.36`; null where the C library is another, or not known. */
  readonly glibcVersion: string | null;
  /** Major version of the ICU that the server is linked with; null where it is linked with none, or that is not known. */
  readonly icuMajor: number | null;
  readonly sharedBuffersBytes: number;
  readonly hugePages: 'on' | 'off' | 'try';
  /** Settings that must not be lower where the WAL is replayed (manual, "Administrator's Overview" of hot standby). */
  readonly minimums: Readonly<Record<string, number>>;
  readonly preloadLibraries: readonly string[];
  /** Libraries of the functions in C that somebody created, as `$libdir/hstore`. */
  readonly functionLibraries: readonly string[];
  readonly extensions: readonly InstalledExtension[];
  readonly locales: readonly DatabaseLocale[];
  /** Databases that were not looked into: too many, or closed to the agent. */
  readonly databasesLeftOut: number;
}
