import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DirectWrites } from '../../src/archive/fetch/direct-writes.ts';
import { RestoredTree } from '../../src/archive/fetch/restored-tree.ts';
import { temporaryDirectory } from '../harness/temp.ts';

const mebibyte = Buffer.alloc(1024 * 1024, 'walkback');
/** Through the page cache. */
function throughCache(): RestoredTree {
  const writes = new DirectWrites();
  writes.giveUp();
  return new RestoredTree(writes);
}

describe('a tree of restored files', () => {
  it('gives others on the thread their turn while it writes without pause, so that they hear of files that are synced', async () => {
    await using directory = await temporaryDirectory();
    const tree = throughCache();
    let turns = 0;
    const count = (): void => {
      turns += 1;
      counting = setImmediate(count);
    };
    let counting = setImmediate(count);
    const file = tree.file(join(directory.path, 'relation'), { mode: 0o600, sizeBytes: 96 * mebibyte.length });
    for (let written = 0; written < 96; written += 1) {
      file.write(mebibyte);
      await tree.drain();
    }
    clearImmediate(counting);
    file.end();
    await tree.sync();
    await tree.close();
    // A batch of 16 MiB each.
    expect(turns).toBeGreaterThanOrEqual(6);
    expect((await readFile(join(directory.path, 'relation'))).length).toBe(96 * mebibyte.length);
  });

  it('says when a file of any batch could not be synced', async () => {
    await using directory = await temporaryDirectory();
    const tree = throughCache();
    for (const name of ['first', 'second', 'third']) {
      const file = tree.file(join(directory.path, name), { mode: 0o600, sizeBytes: 20 * mebibyte.length });
      for (let written = 0; written < 20; written += 1) file.write(mebibyte);
      file.end();
      if (name === 'first') await rm(join(directory.path, name));
      await tree.drain();
    }
    await expect(tree.sync()).rejects.toThrow('ENOENT');
    await tree.close();
  });
});
