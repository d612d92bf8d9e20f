/**
 * Looks through a recovered cluster, before clients come, for what came along from the source and acts, lets somebody in, or is not what it
 * seems. Subscriptions are switched off here: at work, they would take changes from the publisher that are meant for the source.
 */
import { messageOf, WalkbackError } from '../domain/errors.ts';
import type { FindingKind, RestoredFinding } from '../domain/restored-findings.ts';
import { type ConnectOptions, connectServer, type ServerConnection } from './connection.ts';

/** Databases looked into, in the order of their names. */
const databasesMaximum = 500;
const databasesAtOnce = 4;
/** A prepared transaction may hold a lock for ever. */
const lockTimeoutMs = 10_000;
/** Things of one kind that are named in one database. */
const namedMaximum = 20;
/** Indexes that one finding about a collation names. */
const indexesNamedMaximum = 5;

interface Probe {
  readonly kind: FindingKind;
  /** Gives rows with a column `text`; one more than is named tells that there are more. */
  readonly sql: string;
  /** Default 14. */
  readonly fromMajor?: number;
}

const clusterProbes: readonly Probe[] = [
  {
    kind: 'prepared-transaction',
    sql: `SELECT format('The transaction %L of %s in %s was prepared at %s and holds its locks: COMMIT PREPARED or ROLLBACK PREPARED it.',
            gid, owner, database, prepared) AS text FROM pg_prepared_xacts ORDER BY prepared`,
  },
  {
    kind: 'session',
    sql: `SELECT format('A session of %s (%s) is connected to %s.', usename, application_name, datname) AS text FROM pg_stat_activity
          WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'walkback' ORDER BY pid`,
  },
  {
    kind: 'md5-password',
    sql: `SELECT format('%s has an MD5 password, and pg_hba.conf of the restored cluster takes only SCRAM: it can log in once it has a new one.',
            rolname) AS text FROM pg_authid WHERE rolcanlogin AND rolpassword LIKE 'md5%' ORDER BY rolname`,
  },
  {
    kind: 'superuser',
    sql: `SELECT format('%s is a superuser that can log in with a password.', rolname) AS text
          FROM pg_authid WHERE rolsuper AND rolcanlogin AND rolpassword IS NOT NULL ORDER BY rolname`,
  },
  {
    kind: 'page-checksums',
    sql: `SELECT 'Pages carry no checksums, so damage to them would not be noticed.' AS text WHERE current_setting('data_checksums') = 'off'`,
  },
];

/** Rows of a collation with a version that differs, and the indexes that are sorted by it. */
const indexesOf = (collation: string) => `
  (SELECT string_agg(name, ', ') || CASE WHEN max(total) > ${indexesNamedMaximum} THEN format(' and %s more', max(total) - ${indexesNamedMaximum}) ELSE '' END
   FROM (SELECT indexrelid::regclass::text AS name, count(*) OVER () AS total FROM pg_index
         WHERE ${collation} = ANY (indcollation::oid[]) ORDER BY 1 LIMIT ${indexesNamedMaximum}) AS named)`;
const collationText = `'%s was version %s at the source and is %s here, so its order may differ: REINDEX what is sorted by it: %s.'`;

const databaseProbes: readonly Probe[] = [
  {
    kind: 'user-mapping',
    sql: `SELECT format('The user mapping of %s for the server %s logs in elsewhere%s.', coalesce(usename, 'PUBLIC'), srvname,
            CASE WHEN EXISTS (SELECT 1 FROM unnest(umoptions) AS o WHERE o LIKE 'password=%') THEN ' with a password of the source' ELSE '' END) AS text
          FROM pg_user_mappings ORDER BY srvname, usename`,
  },
  {
    kind: 'scheduler',
    sql: `SELECT format('The extension %s is there, its background worker is not loaded: its jobs do not run.', extname) AS text
          FROM pg_extension WHERE extname IN ('pg_cron', 'pg_partman', 'pg_timetable', 'pg_net', 'pglogical') ORDER BY extname`,
  },
  {
    kind: 'collation',
    sql: `SELECT format(${collationText}, 'The collation ' || c.oid::regcollation, collversion, coalesce(pg_collation_actual_version(c.oid), 'unknown'),
            coalesce(${indexesOf('c.oid')}, 'no index')) AS text
          FROM pg_collation c WHERE collversion IS NOT NULL AND collversion IS DISTINCT FROM pg_collation_actual_version(c.oid) ORDER BY collname`,
  },
  {
    kind: 'collation',
    fromMajor: 15,
    sql: `SELECT format(${collationText}, 'The collation of the database', datcollversion, coalesce(pg_database_collation_actual_version(oid), 'unknown'),
            coalesce(${indexesOf(`'default'::regcollation`)}, 'no index')) AS text
          FROM pg_database WHERE datname = current_database() AND datcollversion IS NOT NULL
            AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)`,
  },
  {
    kind: 'unlogged-table',
    sql: `SELECT format('%s is unlogged, so it is empty: what it held is in no WAL.', oid::regclass) AS text
          FROM pg_class WHERE relpersistence = 'u' AND relkind IN ('r', 'm') ORDER BY oid`,
  },
  {
    kind: 'invalid-index',
    sql: `SELECT format('The index %s is not valid, as at the source: REINDEX or DROP it.', indexrelid::regclass) AS text
          FROM pg_index WHERE NOT (indisvalid AND indisready AND indislive) ORDER BY indexrelid`,
  },
];

/**
 * Takes the inventory; safe to repeat.
 * @param server a superuser's login
 * @throws WalkbackError POSTGRES_UNREACHABLE; what PostgreSQL refuses to tell is a finding
 */
export async function takeInventory(server: ConnectOptions): Promise<RestoredFinding[]> {
  await using connection = await connectServer(server);
  const findings: RestoredFinding[] = [];
  for (const probe of clusterProbes) findings.push(...(await probed(connection, probe, null)));
  const { databases, major } = await readDatabases(connection);
  const looked = databases.slice(0, databasesMaximum);
  for (let first = 0; first < looked.length; first += databasesAtOnce) {
    const some = looked.slice(first, first + databasesAtOnce).map((database) => inventoryOf({ ...server, database }, major));
    findings.push(...(await Promise.all(some)).flat());
  }
  const leftOut = databases.length - looked.length;
  if (leftOut > 0) findings.push({ kind: 'not-inspected', database: null, text: `${leftOut} databases were not looked into.` });
  await assertSubscriptionsOff(connection);
  return findings;
}

/** A database that lets nobody in may still hold one, and its worker gets in. */
async function assertSubscriptionsOff(connection: ServerConnection): Promise<void> {
  const [first] = await connection.query<{ name: string; database: string }>(
    'SELECT subname AS name, datname AS database FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE subenabled ORDER BY 2, 1 LIMIT 1',
  );
  if (first === undefined) return;
  throw new WalkbackError(
    'CHECK_FAILED',
    `The subscription ${first.name} in ${first.database} could not be switched off, and would take changes that are meant for the source.`,
    {
      hint: 'Restore to an instant at which it is disabled, or at which its database can be connected to.',
      facts: { subscription: first.name, database: first.database },
    },
  );
}

async function readDatabases(connection: ServerConnection): Promise<{ databases: string[]; major: number }> {
  const rows = await connection.query<{ name: string; version: string }>(
    `SELECT datname AS name, current_setting('server_version_num') AS version FROM pg_database WHERE datallowconn ORDER BY datname`,
  );
  return { databases: rows.map(({ name }) => name), major: Math.floor(Number(rows[0]?.version ?? 0) / 10_000) };
}

async function inventoryOf(server: ConnectOptions, major: number): Promise<RestoredFinding[]> {
  const { database } = server;
  try {
    await using connection = await connectServer(server);
    return await inventoryOver(connection, { database, major });
  } catch (error) {
    // A database may be broken at the source already: a DROP that was interrupted, a library that a session needs.
    if (!(error instanceof WalkbackError) || server.signal?.aborted === true) throw error;
    return [{ kind: 'not-inspected', database, text: messageOf(error) }];
  }
}

async function inventoryOver(
  connection: ServerConnection,
  where: { readonly database: string; readonly major: number },
): Promise<RestoredFinding[]> {
  const { database, major } = where;
  await connection.query(`SET lock_timeout = ${lockTimeoutMs}`);
  const findings = await switchSubscriptionsOff(connection, database);
  for (const probe of databaseProbes) {
    if (major >= (probe.fromMajor ?? 0)) findings.push(...(await probed(connection, probe, database)));
  }
  return findings;
}

async function switchSubscriptionsOff(connection: ServerConnection, database: string): Promise<RestoredFinding[]> {
  const subscriptions = await connection.query<{ name: string; quoted: string; isEnabled: boolean; hasPassword: boolean }>(
    `SELECT subname AS name, quote_ident(subname) AS quoted, subenabled AS "isEnabled", subconninfo ~* 'password' AS "hasPassword"
     FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY subname`,
  );
  for (const { quoted, isEnabled } of subscriptions) if (isEnabled) await connection.query(`ALTER SUBSCRIPTION ${quoted} DISABLE`);
  return subscriptions.map(({ name, hasPassword }) => ({
    kind: 'subscription',
    database,
    text: `The subscription ${name} is switched off: it would take changes meant for the source. Before DROP SUBSCRIPTION, SET (slot_name = NONE): the slot is the source's.${hasPassword ? ' Its connection string carries a password of the source.' : ''}`,
  }));
}

async function probed(connection: ServerConnection, { kind, sql }: Probe, database: string | null): Promise<RestoredFinding[]> {
  try {
    const rows = await connection.query<{ text: string }>(`SELECT text FROM (${sql}) AS found LIMIT ${namedMaximum + 1}`);
    const more = rows.length > namedMaximum ? [{ kind, database, text: `There are more than ${namedMaximum}.` }] : [];
    return [...rows.slice(0, namedMaximum).map(({ text }) => ({ kind, database, text })), ...more];
  } catch (error) {
    // Whoever asks wants to know what could be seen; that a part could not be is told with the rest.
    if (!(error instanceof WalkbackError) || error.code !== 'STATEMENT_FAILED') throw error;
    return [{ kind: 'not-inspected', database, text: `PostgreSQL does not tell about ${kind}: ${messageOf(error)}` }];
  }
}
