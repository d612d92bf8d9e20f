/** A push of very many files asks for its garbage to be collected; one of a few thousand does not stand still for it. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { collectGarbage } from '../../src/archive/collect-garbage.ts';
import { none } from '../../src/archive/compression/none.ts';
import { HeldText } from '../../src/archive/documents/held-text.ts';
import { PartsUpload } from '../../src/archive/push/part-upload.ts';
import type { PackedFile } from '../../src/archive/push/tar-stream.ts';
import { storeIn, temporaryDirectory } from './support/temporary.ts';

vi.mock('../../src/archive/collect-garbage.ts', () => ({ collectGarbage: vi.fn<() => void>() }));
beforeEach(() => vi.mocked(collectGarbage).mockClear());

const file: PackedFile = {
  name: '/base/5/1259',
  type: 'file',
  changedNs: 1n,
  fileBytes: 8192,
  checksum: '00000000',
  isIncremented: false,
  isSkipped: true,
  damagedBlocks: undefined,
};

describe('garbage of a push', () => {
  it('is collected once for each 16,384 files, and not for a few thousand', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    const options = { backup: 'b', codec: none, cipher: undefined, concurrency: 1, pages: undefined, manifestChecksum: 'crc32c' } as const;
    const upload = new PartsUpload(store, (async function* () {})(), options);
    const collected = [8192, 16_384, 24_576, 49_152].map((untilCount, index, counts) => {
      for (let count = counts[index - 1] ?? 0; count < untilCount; count += 1) upload.listSkipped(file);
      return vi.mocked(collectGarbage).mock.calls.length;
    });
    expect(collected).toEqual([0, 1, 1, 3]);
  });

  it('is collected when more than 16 MiB of held text were unpacked', () => {
    const text = new HeldText('x'.repeat(9 * 1024 * 1024));
    expect(text.bytes()).toHaveLength(9 * 1024 * 1024);
    expect(collectGarbage).not.toHaveBeenCalled();
    text.bytes();
    expect(collectGarbage).toHaveBeenCalledOnce();
  });
});
