/** The thread that packs: compresses what it is given in one step, and hashes the result where that is wanted. */
import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { FramePacker } from './compression/zstd-frame.ts';
import type { Packed, PackingJob } from './packing-threads.ts';

const packer = new FramePacker();

parentPort?.on('message', ({ input, inputOffsetBytes, inputBytes, output, isHashed }: PackingJob) => {
  const room = Buffer.from(output);
  const sizeBytes = packer.pack(Buffer.from(input, inputOffsetBytes, inputBytes), room);
  const sha256 = isHashed ? createHash('sha256').update(room.subarray(0, sizeBytes)).digest('hex') : undefined;
  parentPort?.postMessage({ sizeBytes, sha256 } satisfies Packed, []);
});
