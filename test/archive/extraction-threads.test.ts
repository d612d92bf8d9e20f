import { join } from 'node:path';
import { expect, it } from 'vitest';
import { completeBaseBackup } from '../../src/archive/base-backup-completion.ts';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { uploadBaseBackup } from '../../src/archive/base-backup-push.ts';
import { readyExtractionThreads } from '../../src/archive/fetch/extraction-threads.ts';
import { makeDataDirectory, start, stopped } from './support/data-directory.ts';
import { storeIn, temporaryDirectory } from './support/temporary.ts';

it('a fetch takes the threads that were started for it before, and starts none', async () => {
  await using directory = await temporaryDirectory();
  const [dataDirectory, into] = [join(directory.path, 'source'), join(directory.path, 'target')];
  await makeDataDirectory(dataDirectory);
  const { store } = await storeIn(directory.path);
  const upload = { store, dataDirectory, compression: 'none', partBytes: 256 * 1024, start, stop: async () => stopped } as const;
  await completeBaseBackup(store, await uploadBaseBackup(upload));
  let startedCount = 0;
  process.on('worker', () => {
    startedCount += 1;
  });
  const nextStart = new Promise((resolve) => process.once('worker', resolve));
  readyExtractionThreads();
  await nextStart;
  const readyCount = startedCount;
  readyExtractionThreads();
  const { parts } = await fetchBaseBackup({ store, backup: start.name, into, stateDirectory: join(into, 'walkback_restore') });
  expect(parts).toBeGreaterThan(3);
  expect(readyCount).toBeGreaterThanOrEqual(2);
  expect(startedCount).toBe(readyCount);
});
