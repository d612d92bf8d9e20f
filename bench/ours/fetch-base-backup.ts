/**
 * Fetches base backups as the agent's activity does, in a process that stays, as the agent does. For each line of JSON, {"archiveUrl": ..., "backup": ...,
 * "into": ...}, it answers how long it took, {"seconds": ...}.
 */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type * as Fetching from '../../src/archive/base-backup-fetch.ts';
import type * as Loading from '../../src/config/load.ts';
import type * as Marker from '../../src/postgres/restore-marker.ts';
import type * as Stores from '../../src/processes/stores.ts';
import { built } from '../built.ts';

await built('files/thread-pool.js');
const { fetchBaseBackup } = await built<typeof Fetching>('archive/base-backup-fetch.js');
const { loadConfiguration } = await built<typeof Loading>('config/load.js');
const { restoreDirectoryName } = await built<typeof Marker>('postgres/restore-marker.js');
const { OpenStores } = await built<typeof Stores>('processes/stores.js');

const { configuration, secrets } = await loadConfiguration({ environment: process.env, workingDirectory: process.cwd() });
await using stores = new OpenStores(configuration, secrets);
for await (const line of createInterface({ input: process.stdin })) {
  const { archiveUrl, backup, into } = JSON.parse(line) as { archiveUrl: string; backup: string; into: string };
  const startedMs = performance.now();
  await fetchBaseBackup({
    store: stores.open(archiveUrl),
    backup,
    into,
    stateDirectory: join(into, restoreDirectoryName),
    concurrency: configuration.storage.downloadConcurrency,
  });
  process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - startedMs) / 1000 })}\n`);
}
