/** The script that people write around a tool which only fetches: base backup, recovery settings, start; and waiting until it takes writes. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { toPostgresTimestamp } from '../../src/domain/instant.ts';
import { connectServer } from '../../src/postgres/connection.ts';
import { quoteValue } from '../../src/postgres/configuration-file.ts';
import { demoAdmin } from '../../src/demo/demo-site.ts';
import { type Measurement, measureWork, runCommand } from '../measure/measure.ts';
import type { BenchSite } from '../site/bench-site.ts';
import { baseEnvironment } from '../site/s3.ts';
import type { WholeRestore } from './peer.ts';

const writablePollMs = 25;
const writableTimeoutMs = 10 * 60_000;

/** The server's own settings of a restored copy. */
export function recoverySettings(options: {
  readonly port: number;
  readonly socketDirectory: string;
  readonly restoreCommand: string;
  /** Absent: to the end of the WAL. */
  readonly targetTime?: string;
}): string {
  const settings = {
    listen_addresses: '',
    port: String(options.port),
    unix_socket_directories: options.socketDirectory,
    archive_mode: 'off',
    restore_command: options.restoreCommand,
    ...(options.targetTime === undefined ? {} : { recovery_target_time: options.targetTime, recovery_target_action: 'promote' }),
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name} = ${quoteValue(value)}\n`)
    .join('');
}

/** Runs the script and measures it. `fetch` is the line that brings the base backup to "$DIR". */
export async function restoreByScript(
  site: BenchSite,
  { dataDirectory, port, wal }: WholeRestore,
  commands: { readonly fetch: string; readonly restoreCommand: string },
): Promise<Measurement> {
  const socketDirectory = site.demo.directory;
  const settings = `${dataDirectory}.settings`;
  const targetTime = toPostgresTimestamp(wal.target);
  await writeFile(settings, recoverySettings({ port, socketDirectory, restoreCommand: commands.restoreCommand, targetTime }));
  const script = [
    'set -eu',
    commands.fetch,
    'cat "$SETTINGS" >> "$DIR/postgresql.auto.conf"',
    'touch "$DIR/recovery.signal"',
    '"$BIN/pg_ctl" -D "$DIR" -l "$DIR.log" -W start',
  ].join('\n');
  const env = { ...baseEnvironment(), DIR: dataDirectory, SETTINGS: settings, BIN: site.demo.installation.binDirectory };
  const { measurement } = await measureWork({ starters: () => [process.pid] }, async () => {
    await runCommand('sh', ['-c', script], { env, cwd: join(dataDirectory, '..') });
    await untilWritable(socketDirectory, port);
  });
  return measurement;
}

/** Resolves when a table can be made. */
export async function untilWritable(host: string, port: number): Promise<void> {
  for (const giveUpAtMs = Date.now() + writableTimeoutMs; Date.now() < giveUpAtMs; await delay(writablePollMs)) {
    if (await takesWrites(host, port)) return;
  }
  throw new Error(`the server on port ${port} takes no writes within ${writableTimeoutMs / 1000} s`);
}

async function takesWrites(host: string, port: number): Promise<boolean> {
  try {
    await using connection = await connectServer({ host, port, user: demoAdmin, database: 'postgres' });
    await connection.query('CREATE TEMPORARY TABLE proof_of_life (n int)');
    return true;
  } catch {
    // Starting up, or in recovery still: that is what is being waited for.
    return false;
  }
}
