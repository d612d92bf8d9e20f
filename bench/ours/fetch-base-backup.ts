/**
 * Fetches a base backup as the agent's activity does, in a process of its own, and says in one line of JSON how long it took. Starting Node is
 * not part of that: the agent runs already when a restore begins.
 */
import { join } from 'node:path';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { loadConfiguration } from '../../src/config/load.ts';
import { restoreDirectoryName } from '../../src/postgres/restore-marker.ts';
import { OpenStores } from '../../src/processes/stores.ts';

const [archiveUrl = '', backup = '', into = ''] = process.argv.slice(2);
const { configuration, secrets } = await loadConfiguration({ environment: process.env, workingDirectory: process.cwd() });
await using stores = new OpenStores(configuration, secrets);
const startedMs = performance.now();
await fetchBaseBackup({
  store: stores.open(archiveUrl),
  backup,
  into,
  stateDirectory: join(into, restoreDirectoryName),
  concurrency: configuration.storage.downloadConcurrency,
});
process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - startedMs) / 1000 })}\n`);
