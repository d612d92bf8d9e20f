/** The thread that packs: compresses a whole segment in one step, and hashes what is stored of it. */
import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { compressWhole } from './compression/zstd.ts';
import type { Packed, PackingJob } from './packing-threads.ts';

parentPort?.on('message', ({ input, inputBytes, output }: PackingJob) => {
  const room = Buffer.from(output);
  const sizeBytes = compressWhole(Buffer.from(input, 0, inputBytes), room);
  const packed: Packed | undefined =
    sizeBytes === undefined ? undefined : { sizeBytes, sha256: createHash('sha256').update(room.subarray(0, sizeBytes)).digest('hex') };
  parentPort?.postMessage(packed, []);
});
