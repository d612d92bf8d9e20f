import { mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ChunkRing } from '../../src/archive/push/chunk-ring.ts';
import { type TarFile, tarOfFiles } from '../../src/archive/push/tar-stream.ts';
import { collected } from './support/pieces.ts';
import { temporaryDirectory } from './support/temporary.ts';

/** What this process holds open below the directory. */
function openBelow(directory: string): readonly string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${descriptor}`);
      return path.startsWith(directory) ? [path] : [];
    } catch {
      // The descriptor that read the folder itself.
      return [];
    }
  });
}

function tarFile(directory: string, name: string, sizeBytes: number): TarFile {
  return { memberName: `/${name}`, path: join(directory, name), type: 'file', mode: 0o600, sizeBytes, changedNs: 0n };
}

async function tarBytes(files: readonly TarFile[], onFile: (name: string) => void): Promise<Buffer> {
  const ring = new ChunkRing();
  const options = { ring, pages: undefined, manifestChecksum: 'crc32c', onContent: () => undefined } as const;
  return await collected(tarOfFiles(files, { ...options, onFile: ({ name }) => onFile(name) }));
}

describe('files on their way into a tar', () => {
  it('are closed again, large and small, and one that vanished is left out', async () => {
    await using directory = await temporaryDirectory();
    const sizes = { small: 100, vanished: 100, large: 100_000, last: 1 };
    const files = Object.entries(sizes).map(([name, sizeBytes]) => tarFile(directory.path, name, sizeBytes));
    for (const { path, sizeBytes } of files) if (!path.endsWith('vanished')) writeFileSync(path, Buffer.alloc(sizeBytes, 'x'));
    const packed: string[] = [];
    await tarBytes(files, (name) => packed.push(name));
    expect(packed).toEqual(['/small', '/large', '/last']);
    expect(openBelow(directory.path)).toEqual([]);
  });

  it('are closed when one of them cannot be opened or read, and that one is the error', async () => {
    await using directory = await temporaryDirectory();
    const files = Array.from({ length: 30 }, (_, index) => tarFile(directory.path, `relation${index}`, 1000));
    for (const { path } of files.slice(1)) writeFileSync(path, Buffer.alloc(1000, 'x'));
    const [first] = files;
    // A directory opens and cannot be read; a link to itself does not even open, while the others are being opened.
    const obstacles: Readonly<Record<string, (path: string) => void>> = {
      EISDIR: (path) => mkdirSync(path),
      ELOOP: (path) => symlinkSync(path, path),
    };
    for (const [error, makeAt] of Object.entries(obstacles)) {
      rmSync(first?.path ?? '', { recursive: true, force: true });
      makeAt(first?.path ?? '');
      await expect(tarBytes(files, () => undefined)).rejects.toThrow(error);
      // Whoever opens a file after the failure has done so by the time that libuv's threads have done this.
      await Promise.all(files.slice(1).map(async ({ path }) => readFile(path)));
      expect(openBelow(directory.path)).toEqual([]);
    }
  });
});
