/** Reads from a running server what a restore of its data will need: libraries, collations, sizes (domain/source-record.ts). */
import { WalkbackError } from '../domain/errors.ts';
import type { DatabaseLocale, InstalledExtension, SourceRecord } from '../domain/source-record.ts';
import { type ConnectOptions, connectServer, type ServerConnection } from './connection.ts';
import { librariesIn } from './libraries.ts';
import { glibcVersion, linkedIcuMajor } from './machine.ts';
import { instantSql } from './server-facts.ts';

/** Databases that are looked into, in the order of their names; each needs a session of its own. */
const databasesMaximum = 200;
const extensionsMaximum = 2000;
const librariesMaximum = 500;
/** FirstNormalObjectId of src/include/access/transam.h: what lies below came with initdb. */
const firstUserOid = 16_384;

const serverSql = `
  SELECT ${instantSql('clock_timestamp()')} AS "recordedAt", version() AS "version",
    pg_size_bytes(current_setting('shared_buffers'))::text AS "sharedBuffersBytes",
    current_setting('huge_pages') AS "hugePages",
    (SELECT setting FROM pg_config() WHERE name = 'BINDIR') AS "binDirectory",
    current_setting('shared_preload_libraries') AS "preloadLibraries",
    (SELECT json_object_agg(name, setting::int) FROM pg_settings WHERE name IN ('max_connections', 'max_worker_processes',
      'max_wal_senders', 'max_prepared_transactions', 'max_locks_per_transaction')) AS "minimums"`;

/** Columns came and went between 14 and 18: through JSON, an absent one is null. */
const databasesSql = `
  SELECT datname AS "database", datallowconn AS "isOpen", datcollate AS "collate", to_jsonb(d) ->> 'datlocprovider' AS "provider",
    coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS "locale", to_jsonb(d) ->> 'datcollversion' AS "version"
  FROM pg_database d WHERE datname <> 'template0' ORDER BY datname`;

const extensionsSql = `SELECT extname AS "name", extversion AS "version" FROM pg_extension ORDER BY extname`;

const librariesSql = `
  SELECT DISTINCT probin AS "library" FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
  WHERE l.lanname = 'c' AND p.oid >= ${firstUserOid} AND probin IS NOT NULL ORDER BY 1`;

interface ServerRow {
  readonly recordedAt: string;
  readonly version: string;
  readonly sharedBuffersBytes: string;
  readonly hugePages: SourceRecord['hugePages'];
  readonly binDirectory: string;
  readonly preloadLibraries: string;
  readonly minimums: Readonly<Record<string, number>>;
}

interface DatabaseRow {
  readonly database: string;
  readonly isOpen: boolean;
  readonly collate: string;
  readonly provider: string | null;
  readonly locale: string | null;
  readonly version: string | null;
}

/**
 * Asks the server, and each of its databases.
 * @param server a superuser's login, on the machine that this process runs on
 * @throws WalkbackError STATEMENT_FAILED, POSTGRES_UNREACHABLE
 */
export async function readSourceRecord(server: ConnectOptions): Promise<SourceRecord> {
  await using connection = await connectServer(server);
  const [row] = await connection.query<ServerRow>(serverSql);
  if (row === undefined) throw new TypeError('a SELECT without FROM gave no row');
  const databases = await connection.query<DatabaseRow>(databasesSql);
  const { sharedBuffersBytes, preloadLibraries, binDirectory, ...rest } = row;
  return {
    ...rest,
    architecture: process.arch,
    glibcVersion: glibcVersion(),
    icuMajor: await linkedIcuMajor(binDirectory),
    sharedBuffersBytes: Number(sharedBuffersBytes),
    preloadLibraries: librariesIn(preloadLibraries),
    locales: databases.slice(0, databasesMaximum).map(localeOf),
    ...(await readDatabases(server, databases)),
  };
}

async function readDatabases(
  server: ConnectOptions,
  databases: readonly DatabaseRow[],
): Promise<Pick<SourceRecord, 'extensions' | 'functionLibraries' | 'databasesLeftOut'>> {
  const extensions: InstalledExtension[] = [];
  const libraries = new Set<string>();
  let databasesLeftOut = Math.max(0, databases.length - databasesMaximum);
  for (const { database, isOpen } of databases.slice(0, databasesMaximum)) {
    const found = isOpen ? await readDatabase({ ...server, database }) : undefined;
    if (found === undefined) databasesLeftOut += 1;
    for (const extension of found?.extensions ?? []) if (extensions.length < extensionsMaximum) extensions.push({ database, ...extension });
    for (const library of found?.libraries ?? []) if (libraries.size < librariesMaximum) libraries.add(library);
  }
  return { extensions, functionLibraries: [...libraries].toSorted(), databasesLeftOut };
}

/** @returns undefined for a database that does not let us in: dropped meanwhile, its connections all taken */
async function readDatabase(server: ConnectOptions): Promise<DatabaseFacts | undefined> {
  try {
    await using connection = await connectServer(server);
    return { extensions: await connection.query(extensionsSql), libraries: await readLibraries(connection) };
  } catch (error) {
    // It is counted as left out, and the record says how many were.
    if (error instanceof WalkbackError) return undefined;
    throw error;
  }
}

interface DatabaseFacts {
  readonly extensions: readonly Omit<InstalledExtension, 'database'>[];
  readonly libraries: readonly string[];
}

async function readLibraries(connection: ServerConnection): Promise<string[]> {
  const rows = await connection.query<{ library: string }>(librariesSql);
  return rows.map(({ library }) => library);
}

function localeOf({ database, collate, provider, locale, version }: DatabaseRow): DatabaseLocale {
  if (provider === 'i') return { database, provider: 'icu', locale: locale ?? '', version };
  if (provider === 'b') return { database, provider: 'builtin', locale: locale ?? '', version };
  return { database, provider: 'libc', locale: collate, version };
}
