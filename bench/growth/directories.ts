/** Data directories of a given shape, for which no server is needed: nobody starts them. */
import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const mebibyte = 1024 * 1024;
const fileMib = 16;
/** A relation's file ends at 1 GiB, and the next begins. */
const segmentBytes = 1024 * mebibyte;
const filesOfDirectory = 10_000;
/** 97 bytes: what an SQL function or a configuration file has. */
const tinyContent = 'x'.repeat(97);

/** Text of hexadecimal digits, which compresses to half of it. */
export async function makeTextDirectory(directory: string, sizeMib: number): Promise<void> {
  await makeRoot(directory);
  await mkdir(join(directory, 'texts'));
  for (let index = 0; index * fileMib < sizeMib; index += 1) {
    await using file = await open(join(directory, 'texts', `text-${index}`), 'w');
    for (let mib = 0; mib < Math.min(fileMib, sizeMib - index * fileMib); mib += 1) {
      await file.write(randomBytes(mebibyte / 2).toString('hex'));
    }
  }
}

/** One relation of empty pages which takes no room on the disk. */
export async function makeSparseDirectory(directory: string, sizeGib: number): Promise<void> {
  await makeRoot(directory);
  for (let index = 0; index < sizeGib; index += 1) {
    const file = openSync(join(directory, 'base', '5', index === 0 ? '16384' : `16384.${index}`), 'w');
    ftruncateSync(file, segmentBytes);
    closeSync(file);
  }
}

/** So many files of a hundred bytes. */
export async function makeTinyFilesDirectory(directory: string, fileCount: number): Promise<void> {
  await makeRoot(directory);
  for (let index = 0; index < fileCount; index += 1) {
    const parent = join(directory, 'tiny', String(Math.floor(index / filesOfDirectory)));
    if (index % filesOfDirectory === 0) mkdirSync(parent, { recursive: true });
    writeFileSync(join(parent, String(index)), tinyContent);
  }
}

async function makeRoot(directory: string): Promise<void> {
  await mkdir(join(directory, 'base', '5'), { recursive: true, mode: 0o700 });
  await mkdir(join(directory, 'global'));
  await mkdir(join(directory, 'pg_wal'));
  await writeFile(join(directory, 'global', 'pg_control'), Buffer.alloc(8192));
  await writeFile(join(directory, 'PG_VERSION'), '17\n');
}
