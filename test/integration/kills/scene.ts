/** A PostgreSQL that archives through an agent which is killed, on an archive in a directory. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { archiveCommand } from '../../../src/agent/commands.ts';
import { createWalArchive } from '../../../src/archive/wal-archive.ts';
import { defaultWalSegmentBytes } from '../../../src/domain/wal-segment.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { readControlData } from '../../../src/postgres/control-data.ts';
import { createFileObjectStore } from '../../../src/storage/file-object-store.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import type { AgentPlan } from './agent-process.ts';

export const clusterName = 'shop';
const archivedTimeoutMs = 60_000;

export class KillScene implements AsyncDisposable {
  readonly directory: string;
  readonly source: TestCluster;
  readonly systemIdentifier: string;
  /** Every segment that was closed, in order. */
  readonly segments: string[] = [];
  #rows = 0;

  private constructor(directory: string, source: TestCluster, systemIdentifier: string) {
    this.directory = directory;
    this.source = source;
    this.systemIdentifier = systemIdentifier;
  }

  static async open(name: string): Promise<KillScene> {
    const installation = (await availableInstallations()).at(-1)!;
    const directory = await mkdtemp(join(tmpdir(), 'wb-kills-'));
    await mkdir(join(directory, 'archive'));
    const command = archiveCommand({
      socketPath: join(directory, 'agent.sock'),
      stateDirectory: join(directory, 'state'),
      cluster: clusterName,
    });
    // What was archived is kept in pg_wal, to be compared; without zeros written first, most of a segment takes no room on the disk.
    const kept = { wal_keep_size: '16GB', max_wal_size: '16GB', wal_init_zero: 'off', wal_recycle: 'off' };
    const settings = { archive_mode: 'on', archive_command: command, ...kept };
    const source = await createTestCluster({ installation, name, settings });
    const scene = new KillScene(directory, source, (await readControlData(source.dataDirectory)).systemIdentifier);
    await source.query('CREATE TABLE events (n int PRIMARY KEY, note text NOT NULL)');
    return scene;
  }

  get archiveDirectory(): string {
    return join(this.directory, 'archive');
  }

  get archive() {
    return createWalArchive(this.store, { compression: 'zstd', segmentBytes: defaultWalSegmentBytes });
  }

  get store() {
    return createFileObjectStore({ directory: this.archiveDirectory });
  }

  /** For the agent that archives the source. */
  get plan(): AgentPlan {
    const { directory, systemIdentifier, archiveDirectory } = this;
    return {
      socketPath: join(directory, 'agent.sock'),
      stateDirectory: join(directory, 'state'),
      archiveDirectory,
      cluster: { name: clusterName, dataDirectory: this.source.dataDirectory, systemIdentifier, archiveUrl: `file://${archiveDirectory}` },
    };
  }

  /** Writes rows into so many segments, and closes them. */
  async writeSegments(count: number): Promise<void> {
    await using connection = await connectServer(this.source.connectOptions);
    for (let written = 0; written < count; written += 1) {
      this.#rows += 1;
      await connection.query(`INSERT INTO events SELECT ${this.#rows} * 1000 + i, repeat(md5(i::text), 4) FROM generate_series(1, 500) i`);
      const [row] = await connection.query<{ name: string }>('SELECT pg_walfile_name(pg_switch_wal()) AS name');
      this.segments.push(row!.name);
    }
  }

  /** By the word of PostgreSQL. */
  async untilArchived(): Promise<void> {
    const last = this.segments.at(-1);
    await waitUntil(
      async () => (await this.source.query(`SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= '${last}'`)).length > 0,
      { timeoutMs: archivedTimeoutMs, description: `${last} is archived` },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** All rows in one text. */
export const fingerprintSql = `SELECT count(*) || ' ' || md5(string_agg(n || note, ',' ORDER BY n)) AS rows FROM events`;
