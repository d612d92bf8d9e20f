/** Fetches a base backup and kills itself, as `kill -9` does, in the midst: `fetch-child.ts ARCHIVE BACKUP DIRECTORY STEPS DELAY_MS`. */
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fetchBaseBackup } from '../../../src/archive/base-backup-fetch.ts';
import { createFileObjectStore } from '../../../src/storage/file-object-store.ts';
import type { ObjectStore } from '../../../src/storage/object-store.ts';
import { watched } from '../../archive/support/temporary.ts';

const [archive = '', backup = '', into = '', steps = '0', delayMs = '0'] = process.argv.slice(2);
/** Small, so that there are many instants to be killed at. */
const pieceBytes = 256;
let leftSteps = Number(steps);

function step(): void {
  leftSteps -= 1;
  if (leftSteps !== 0) return;
  // By a timer it may be amid a sync, a rename or a record too, and not only where bytes arrive.
  if (delayMs === '0') process.kill(process.pid, 'SIGKILL');
  else setTimeout(() => process.kill(process.pid, 'SIGKILL'), Number(delayMs));
}

async function* stepwise(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of body) {
    for (let offset = 0; offset < chunk.length; offset += pieceBytes) {
      step();
      yield chunk.subarray(offset, offset + pieceBytes);
    }
  }
}

const files = createFileObjectStore({ directory: archive });
const store: ObjectStore = {
  ...watched(files, () => undefined),
  get: async (key, options) => {
    const object = await files.get(key, options);
    return object === undefined ? undefined : { ...object, body: Readable.from(stepwise(object.body as AsyncIterable<Buffer>)) };
  },
};

await fetchBaseBackup({ store, backup, into, stateDirectory: join(into, 'walkback_restore'), concurrency: 2 });
