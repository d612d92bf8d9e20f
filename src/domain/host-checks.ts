/**
 * What a host must have so that the data of a base backup can be used there, decided from what the source was like and what the host is like. What
 * the source was like is known of backups that have its record; of others these checks say `unknown`.
 */
import { WalkbackError } from './errors.ts';
import { found, type PlanCheck, refused } from './plan-check.ts';
import type { SourceRecord } from './source-record.ts';

/** What the host has. */
export interface HostFacts {
  readonly architecture: string;
  readonly glibcVersion: string | null;
  readonly icuMajor: number | null;
  readonly memoryBytes: number;
  readonly freeMemoryBytes: number;
  readonly freeHugePages: { readonly count: number; readonly pageBytes: number } | null;
  /** Null for no limit, or where it is not known. */
  readonly processesMaximum: number | null;
  /** Of the libraries of functions in C; undefined when it cannot be told where the server's libraries are. */
  readonly absentLibraries: readonly string[] | undefined;
  /** Of shared_preload_libraries: absent, or never loaded into a copy. */
  readonly absentPreloadLibraries: readonly string[];
}

/** What a restore needs of the disk. */
export interface DiskFacts {
  /** The nearest directory that exists. */
  readonly path: string;
  readonly freeBytes: number;
  readonly neededBytes: number;
}

/** Names that one sentence lists. */
const listedNames = 5;
/** Of shared_buffers, PostgreSQL's own processes and the page cache need about as much again. */
const comfortableShareOfMemory = 0.5;
/** The least shared_buffers while recovering (postgres/recovery-settings.ts), and what comes with it. */
const recoveryMemoryBytes = 256 * 1024 * 1024;

/** Is there room for the data directory, tablespaces included? */
export function diskCheck({ path, freeBytes, neededBytes }: DiskFacts): PlanCheck {
  const sizes = `${path} has ${freeBytes} bytes free; the restore needs about ${neededBytes}.`;
  if (freeBytes >= neededBytes) return found('disk', 'ok', sizes);
  return refused('disk', new WalkbackError('NOT_ENOUGH_DISK', sizes, { facts: { freeBytes, neededBytes } }));
}

/** Every check that compares the source with the host. */
export function sourceChecks(
  record: SourceRecord | undefined,
  host: HostFacts,
  allow: { readonly missingLibraries: boolean },
): PlanCheck[] {
  if (record === undefined) return unknownSource.map((name) => found(name, 'unknown', 'Nothing is recorded of the source of this backup.'));
  return [
    librariesCheck(record, host, allow.missingLibraries),
    preloadCheck(record, host),
    collationsCheck(record, host),
    architectureCheck(record, host),
    memoryCheck(record, host),
    settingsCheck(record, host),
  ];
}

const unknownSource = ['libraries', 'preload-libraries', 'collations', 'architecture', 'memory', 'settings'] as const;

/** A library that is absent makes every use of its functions, types and indexes fail. */
function librariesCheck(record: SourceRecord, { absentLibraries }: HostFacts, isAllowed: boolean): PlanCheck {
  const { functionLibraries, extensions, databasesLeftOut } = record;
  const leftOut = databasesLeftOut === 0 ? '' : ` ${databasesLeftOut} databases could not be looked into.`;
  if (functionLibraries.length === 0) return found('libraries', 'ok', `The source uses no libraries of extensions.${leftOut}`);
  if (absentLibraries === undefined)
    return found(
      'libraries',
      'unknown',
      `The source uses ${listed(functionLibraries)}; where this host keeps such libraries is not known.`,
    );
  if (absentLibraries.length === 0)
    return found(
      'libraries',
      'ok',
      `All ${functionLibraries.length} libraries of extensions are here: ${listed(functionLibraries)}.${leftOut}`,
    );
  const named = extensions.length === 0 ? '' : ` Extensions of the source: ${listed(extensionNames(extensions))}.`;
  const text = `Libraries that functions of the source are in are not on this host: ${listed(absentLibraries)}.${named}`;
  if (isAllowed) return found('libraries', 'warning', `${text} What uses them fails; this was allowed.`);
  return refused('libraries', new WalkbackError('LIBRARY_MISSING', text, { facts: { libraries: absentLibraries.slice(0, 20) } }));
}

function extensionNames(extensions: SourceRecord['extensions']): string[] {
  return [...new Set(extensions.map(({ name, version }) => `${name} ${version}`))];
}

/** They are left out of the restored cluster's configuration, which keeps it able to start. */
function preloadCheck({ preloadLibraries }: SourceRecord, { absentPreloadLibraries }: HostFacts): PlanCheck {
  if (absentPreloadLibraries.length === 0) {
    const text = preloadLibraries.length === 0 ? 'The source preloads no libraries.' : `All are here: ${listed(preloadLibraries)}.`;
    return found('preload-libraries', 'ok', text);
  }
  const text = `Left out of shared_preload_libraries, because they are absent or would run jobs of the source: ${listed(absentPreloadLibraries)}.`;
  return found('preload-libraries', 'warning', text);
}

/** An index on text is in the order of the library that built it; with another one, searches miss rows. */
function collationsCheck(record: SourceRecord, { glibcVersion, icuMajor }: HostFacts): PlanCheck {
  const sorted = record.locales.filter(({ provider, locale }) => provider !== 'builtin' && !isByteOrder(provider, locale));
  const byLibc = sorted.filter(({ provider }) => provider === 'libc');
  const byIcu = sorted.filter(({ provider }) => provider === 'icu');
  const differences = [
    ...(record.glibcVersion === glibcVersion
      ? []
      : [`glibc was ${record.glibcVersion ?? 'not known'} and is ${glibcVersion ?? 'not known'}${ofDatabases(byLibc)}`]),
    ...(record.icuMajor === icuMajor ? [] : [`ICU was ${record.icuMajor ?? 'absent'} and is ${icuMajor ?? 'absent'}${ofDatabases(byIcu)}`]),
  ];
  if (differences.length === 0)
    return found('collations', 'ok', `The same libraries order text: glibc ${glibcVersion ?? 'absent'}, ICU ${icuMajor ?? 'absent'}.`);
  const text = `Text may be ordered otherwise than at the source: ${differences.join('; ')}. Rebuild indexes on text after the restore (REINDEX DATABASE), unless their collation is C.`;
  return found('collations', 'warning', text);
}

function isByteOrder(provider: string, locale: string): boolean {
  return provider === 'libc' && (locale === 'C' || locale === 'POSIX' || locale.startsWith('C.'));
}

function ofDatabases(locales: SourceRecord['locales']): string {
  if (locales.length === 0) return ' (no database has it as its own order)';
  return ` (the order of ${listed(locales.map(({ database, locale }) => `${database}: ${locale}`))})`;
}

/** The layout of the files is that of the processor and the compiler. */
function architectureCheck(record: SourceRecord, host: HostFacts): PlanCheck {
  if (record.architecture === host.architecture) return found('architecture', 'ok', `Both are ${host.architecture}.`);
  const text = `The source is ${record.architecture}, this host ${host.architecture}: PostgreSQL's files are made for one kind of processor, and nobody vouches for the other.`;
  return found('architecture', 'warning', text);
}

/** What is too much is left out when the cluster is opened (postgres/open-configuration.ts), so nothing is refused here. */
function memoryCheck({ sharedBuffersBytes, hugePages }: SourceRecord, host: HostFacts): PlanCheck {
  const { memoryBytes, freeMemoryBytes, freeHugePages } = host;
  const sizes = `shared_buffers of the source is ${sharedBuffersBytes} bytes; this host has ${memoryBytes}, ${freeMemoryBytes} of them free.`;
  if (sharedBuffersBytes >= memoryBytes)
    return found('memory', 'warning', `${sizes} The restored cluster is opened with PostgreSQL's default instead.`);
  if (freeMemoryBytes < recoveryMemoryBytes)
    return found('memory', 'warning', `${sizes} Recovery itself takes about ${recoveryMemoryBytes}.`);
  if (sharedBuffersBytes > freeMemoryBytes || sharedBuffersBytes > memoryBytes * comfortableShareOfMemory)
    return found('memory', 'warning', `${sizes} The restored cluster may run short of it.`);
  const pages = freeHugePages === null ? 0 : freeHugePages.count * freeHugePages.pageBytes;
  if (hugePages === 'on' && pages < sharedBuffersBytes)
    return found('memory', 'warning', `${sizes} The source needs huge pages, of which ${pages} bytes are free here: it runs without.`);
  return found('memory', 'ok', sizes);
}

/** Recovery refuses lower values than the source had, so they are the source's here. */
function settingsCheck({ minimums }: SourceRecord, { processesMaximum }: HostFacts): PlanCheck {
  const named = Object.entries(minimums)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]) => `${name} = ${value}`);
  const text = `Recovery takes from the source what must not be lower: ${named.join(', ')}.`;
  const processes = (minimums['max_connections'] ?? 0) + (minimums['max_worker_processes'] ?? 0) + (minimums['max_wal_senders'] ?? 0);
  if (processesMaximum !== null && processes > processesMaximum)
    return found('settings', 'warning', `${text} That is up to ${processes} processes, and this user may have ${processesMaximum} here.`);
  return found('settings', 'ok', text);
}

function listed(names: readonly string[]): string {
  const more = names.length > listedNames ? ` and ${names.length - listedNames} more` : '';
  return `${names.slice(0, listedNames).join(', ')}${more}`;
}
