/** Small file systems of their own, on which tests fill the disk: scripts/run/small-disk.mjs mounts them where it may. */
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const ballastBytes = 16 * 1024 * 1024;

/** The small disk of a kind of test; `why` there is none, for a test that is skipped. */
export function smallDisk(name: 'chaos' | 'faults'): { readonly path: string | undefined; readonly why: string } {
  const { WALKBACK_SMALL_DISK: parent, WALKBACK_NO_SMALL_DISK: reason } = process.env;
  const why = `no disk can be filled: ${reason ?? 'WALKBACK_SMALL_DISK names none'}`;
  return { path: parent === undefined ? undefined : join(parent, name), why };
}

/** Fills the file system to its last byte. @returns frees it */
export async function fillDisk(directory: string, isEnough: () => boolean = () => false): Promise<() => Promise<void>> {
  const pieceOf = (piece: number) => join(directory, `ballast-${piece}`);
  const { bavail, bsize } = await statfs(directory);
  const count = Math.floor((bavail * bsize) / ballastBytes) + 1;
  for (let piece = 0; piece < count && !isEnough(); piece += 1) {
    // The last piece is what does not fit any more.
    await writeFile(pieceOf(piece), Buffer.alloc(ballastBytes, piece)).catch(() => undefined);
  }
  return async () => {
    for (let piece = 0; piece < count; piece += 1) await rm(pieceOf(piece), { force: true });
  };
}
