/** The cluster that everybody backs up: half of it easy to compress, half of it hard; and the WAL that everybody archives and replays. */
import { readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DemoSite } from '../../src/demo/demo-site.ts';
import { type Instant, parseInstant } from '../../src/domain/instant.ts';
import { connectServer, type ServerConnection } from '../../src/postgres/connection.ts';
import { startServer, stopServer } from '../../src/postgres/process-control.ts';

/** WAL between the base backups and the target. */
export interface BenchWal {
  /** The segments that the figures are about, all of them complete, in order. */
  readonly names: readonly string[];
  /** Complete segments before them which some base backup needs. */
  readonly earlier: readonly string[];
  /** Lies after the last but one commit and before the last. */
  readonly target: Instant;
}

/** Settings of the source: it keeps its WAL, and checkpoints only when asked. */
export const sourceSettings = {
  shared_buffers: '256MB',
  max_wal_size: '32GB',
  min_wal_size: '80MB',
  wal_keep_size: '32GB',
  checkpoint_timeout: '1h',
  synchronous_commit: 'off',
  wal_compression: 'off',
} as const;

const mebibyte = 1024 * 1024;
/** What a row of pgbench_accounts takes in its table, and its key in the index. */
const accountBytes = 130;
/** Text of a row that pglz cannot make smaller: 32 hexadecimal digits of md5, sixty times. */
const textChunks = 60;
const textBytes = textChunks * 32 + 50;
const serverTimeoutMs = 60_000;
/** Filling a cluster of many GiB takes single statements that long. */
const statementTimeoutMs = 60 * 60_000;
const archivePollMs = 5;
/** Longer than the slowest peer takes for 64 segments by far. */
const archiveTimeoutMs = 10 * 60_000;

/** The source, as the figures use it. */
export class BenchSource {
  readonly #site: DemoSite;
  readonly #binDirectory: string;
  readonly #sizeMib: number;
  #archiveMode: 'on' | 'off' = 'off';

  constructor(site: DemoSite, sizeMib: number) {
    this.#site = site;
    this.#binDirectory = site.installation.binDirectory;
    this.#sizeMib = sizeMib;
  }

  get dataDirectory(): string {
    return this.#site.source.dataDirectory;
  }

  get server(): DemoSite['source']['server'] {
    return this.#site.source.server;
  }

  /** Fills the cluster. */
  async fill(): Promise<void> {
    const half = (this.#sizeMib * mebibyte) / 2;
    await using connection = await this.connect();
    await connection.query('CREATE TABLE pgbench_accounts (aid int, bid int, abalance int, filler char(84)) WITH (fillfactor = 90)');
    const accounts = Math.ceil(half / (accountBytes + 20));
    await connection.query(`INSERT INTO pgbench_accounts SELECT n, n / 100000, 0, '' FROM generate_series(1, ${accounts}) AS n`);
    await connection.query('ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid)');
    await connection.query('CREATE TABLE texts (id bigserial, words text)');
    await connection.query('ALTER TABLE texts ALTER COLUMN words SET STORAGE EXTERNAL');
    await insertTexts(connection, Math.ceil(half / textBytes));
    await connection.query('VACUUM ANALYZE');
  }

  /** So that the next backup's own checkpoint has nothing to write. */
  async checkpoint(): Promise<void> {
    await using connection = await this.connect();
    await connection.query('CHECKPOINT');
  }

  /** Restarts the source when its archive_mode is another. Without archiving, no backup waits for its last segment. */
  async setArchiveMode(mode: 'on' | 'off'): Promise<void> {
    if (this.#archiveMode === mode) return;
    await this.#configure({ archive_mode: mode });
    await stopServer({ dataDirectory: this.dataDirectory, mode: 'fast', timeoutMs: serverTimeoutMs });
    await startServer({
      binDirectory: this.#binDirectory,
      dataDirectory: this.dataDirectory,
      logFile: `${this.dataDirectory}.log`,
      timeoutMs: serverTimeoutMs,
      until: 'accepting',
    });
    this.#archiveMode = mode;
  }

  /** The archive_mode that somebody else has set and restarted for. */
  noteArchiveMode(mode: 'on' | 'off'): void {
    this.#archiveMode = mode;
  }

  async archiveCommand(): Promise<string> {
    await using connection = await this.connect();
    const [row] = await connection.query<{ archive_command: string }>('SHOW archive_command');
    return row?.archive_command ?? '';
  }

  /** '' stops archiving: PostgreSQL keeps everything until there is a command again. */
  async setArchiveCommand(command: string): Promise<void> {
    await this.#configure({ archive_command: command });
  }

  /** Id of the archiver process. */
  async archiverPid(): Promise<number> {
    await using connection = await this.connect();
    const [row] = await connection.query<{ pid: number }>(`SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'`);
    if (row === undefined) throw new Error('the source has no archiver process');
    return row.pid;
  }

  /** Writes so many complete segments of the kind of WAL that an OLTP system writes. `since` is the first segment of the oldest base backup; checkpoints come only every so many segments, if at all. */
  async writeWal(segments: number, since: string, options: { readonly checkpointEvery?: number } = {}): Promise<BenchWal> {
    await using connection = await this.connect();
    await connection.query('SELECT pg_switch_wal()');
    await connection.query('CHECKPOINT');
    await connection.query('SELECT pg_switch_wal()');
    await connection.query('CREATE TABLE IF NOT EXISTS marks (mark text)');
    const first = await currentSegment(connection);
    const names = [first];
    while (names.length < segments) {
      await writeLittle(connection);
      const name = await currentSegment(connection);
      if (name === names.at(-1)) continue;
      names.push(name);
      if (options.checkpointEvery !== undefined && names.length % options.checkpointEvery === 0) await connection.query('CHECKPOINT');
    }
    const [row] = await connection.query<{ now: string }>('SELECT clock_timestamp()::text AS now, pg_sleep(1.1)');
    await connection.query(`INSERT INTO marks VALUES ('after the target')`);
    await connection.query('SELECT pg_switch_wal()');
    const current = await currentSegment(connection);
    const complete = (await this.#segmentsInPgWal()).filter((name) => name >= since && name < current);
    const earlier = complete.filter((name) => name < first);
    const written = complete.filter((name) => name >= first);
    if (written.length !== segments) throw new Error(`${written.length} segments were written instead of ${segments}`);
    return { names: written, earlier, target: parseInstant(row?.now ?? '') };
  }

  /** Makes PostgreSQL believe that these segments were never archived. Their times change too: nobody may remember having stored them. */
  async markUnarchived(names: readonly string[]): Promise<void> {
    const now = new Date();
    for (const name of names) {
      await utimes(join(this.dataDirectory, 'pg_wal', name), now, now);
      await rename(this.#status(name, 'done'), this.#status(name, 'ready')).catch(async () => writeFile(this.#status(name, 'ready'), ''));
    }
  }

  /** Resolves when PostgreSQL takes the last segment for archived: it asks for them in order. */
  async untilArchived(names: readonly string[]): Promise<void> {
    const last = names.at(-1);
    if (last === undefined) return;
    for (const giveUpAtMs = Date.now() + archiveTimeoutMs; Date.now() < giveUpAtMs; await delay(archivePollMs)) {
      if (await isThere(this.#status(last, 'done'))) return;
    }
    throw new Error(`${last} was not archived within ${archiveTimeoutMs / 1000} s`);
  }

  /** Nothing is left to be archived but what is asked for. */
  async clearBacklog(): Promise<void> {
    const directory = join(this.dataDirectory, 'pg_wal', 'archive_status');
    for (const name of await readdir(directory)) if (name.endsWith('.ready')) await rm(join(directory, name));
  }

  connect(): Promise<ServerConnection> {
    return connectServer({ ...this.server, statementTimeoutMs });
  }

  #status(name: string, state: 'ready' | 'done'): string {
    return join(this.dataDirectory, 'pg_wal', 'archive_status', `${name}.${state}`);
  }

  async #segmentsInPgWal(): Promise<readonly string[]> {
    const names = await readdir(join(this.dataDirectory, 'pg_wal'));
    return names.filter((name) => /^[0-9A-F]{24}$/.test(name)).toSorted();
  }

  async #configure(settings: Readonly<Record<string, string>>): Promise<void> {
    await using connection = await this.connect();
    for (const [name, value] of Object.entries(settings)) {
      await connection.query(`ALTER SYSTEM SET ${name} = '${value.replaceAll("'", "''")}'`);
    }
    await connection.query('SELECT pg_reload_conf()');
  }
}

async function insertTexts(connection: ServerConnection, rows: number): Promise<void> {
  const words = Array.from({ length: textChunks }, (_, index) => `md5((n * ${textChunks} + ${index})::text || random()::text)`).join(
    ' || ',
  );
  await connection.query(`INSERT INTO texts (words) SELECT ${words} FROM generate_series(1, ${rows}) AS n`);
}

/** A fifth of a segment or so: updates all over the accounts, and some new text. */
async function writeLittle(connection: ServerConnection): Promise<void> {
  await connection.query(
    `UPDATE pgbench_accounts SET abalance = abalance + 1
     WHERE aid IN (SELECT 1 + (random() * (SELECT max(aid) - 1 FROM pgbench_accounts))::int FROM generate_series(1, 400))`,
  );
  await insertTexts(connection, 100);
}

async function currentSegment(connection: ServerConnection): Promise<string> {
  const [row] = await connection.query<{ name: string }>('SELECT pg_walfile_name(pg_current_wal_insert_lsn()) AS name');
  return row?.name ?? '';
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
