import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createWalArchive } from '../../src/archive/wal-archive.ts';
import { readWalHeader, whyNotSegment } from '../../src/archive/wal-page.ts';
import { unsealJson } from '../../src/archive/documents/sealed-json.ts';
import type { WalkbackError } from '../../src/domain/errors.ts';
import { type ObjectStore, readObject } from '../../src/storage/object-store.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { keysOf, storeIn, temporaryDirectory, watched } from './support/temporary.ts';
import { type HeaderFaults, segmentBytes, systemIdentifier, walSegment } from './support/wal.ts';

const name = '000000020000000100000003';

async function setUp(directory: string, compression: 'zstd' | 'none' = 'zstd') {
  const { store, root } = await storeIn(directory);
  const archive = createWalArchive(store, { compression, segmentBytes });
  const path = join(directory, 'source');
  const push = async (bytes: Buffer, pushedName = name) => {
    await writeFile(path, bytes);
    return archive.push({ path, name: pushedName, systemIdentifier });
  };
  return { store, root, archive, path, push, destination: join(directory, 'RECOVERYXLOG') };
}

describe('WalArchive', () => {
  it.each(['zstd', 'none'] as const)('fetch gives back what push stored when compressed by %s', async (compression) => {
    await using directory = await temporaryDirectory();
    const { archive, push, destination, store } = await setUp(directory.path, compression);
    const history = Buffer.from('1\t0/5000000\tno recovery target specified\n');
    const files: readonly (readonly [string, Buffer])[] = [
      [name, walSegment({ name })],
      [`${name}.partial`, walSegment({ name }, { timeline: 1 })],
      ['00000002.history', history],
      [`${name}.00000028.backup`, Buffer.from('START WAL LOCATION\n')],
    ];
    for (const [pushedName, bytes] of files) {
      expect(await push(bytes, pushedName)).toBe('stored');
      expect(await archive.fetch({ name: pushedName, destination, systemIdentifier })).toBe('fetched');
      expect((await readFile(destination)).equals(bytes)).toBe(true);
    }
    expect(await archive.readHistory(2)).toBe(history.toString());
    expect(await archive.readHistory(3)).toBeUndefined();
    expect(await archive.list()).toEqual({
      segments: new Set([name]),
      partials: new Set([name]),
      histories: new Set(['00000002.history']),
    });
    expect(await archive.closedAt(name)).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
    expect([await archive.has(name), await archive.has('000000020000000100000004')]).toEqual([true, false]);
    expect((await readdir(directory.path)).filter((file) => file.endsWith('.tmp'))).toEqual([]);
    expect(await keysOf(store, `wal_005/${name}`)).toContain(compression === 'zstd' ? `wal_005/${name}.zst` : `wal_005/${name}`);
  });

  it('push succeeds for the same content again and refuses other content under the name', async () => {
    await using directory = await temporaryDirectory();
    const { push, archive, destination } = await setUp(directory.path);
    const bytes = walSegment({ name });
    expect(await push(bytes)).toBe('stored');
    expect(await push(bytes)).toBe('already-stored');
    const other = Buffer.from(bytes);
    other.write('other', 100_000);
    await expect(push(other)).rejects.toMatchObject({ code: 'WAL_CONFLICT', facts: { key: `wal_005/${name}.zst` } });
    await archive.fetch({ name, destination });
    expect((await readFile(destination)).equals(bytes)).toBe(true);
  });

  it('push keeps refused content aside, once, with what is known of both, and never so much that it fills the archive', async () => {
    await using directory = await temporaryDirectory();
    const { push, store } = await setUp(directory.path);
    const bytes = walSegment({ name });
    await push(bytes);
    const refuse = async (number: number) => {
      const other = Buffer.from(bytes);
      other.write(`other ${number}`, 100_000);
      return await push(other).catch((error: WalkbackError) => error.facts['keptAs']);
    };
    const keptAs = await refuse(0);
    expect(keptAs).toMatch(/^walkback_001\/conflicts\/[0-9A-F]{24}\.[0-9a-f]{64}\.zst$/);
    expect(await refuse(0)).toBe(keptAs);
    const keys = await keysOf(store, 'walkback_001/conflicts/');
    expect(keys).toEqual([`${String(keptAs).slice(0, -4)}.json`, keptAs]);
    const document = unsealJson((await readObject(store, keys[0]!, { maximumBytes: 10_000 }))!.toString());
    expect(JSON.parse(document)).toMatchObject({ name, key: `wal_005/${name}.zst`, systemIdentifier, host: expect.any(String) });
    for (let number = 1; number < 64; number += 1) expect(await refuse(number)).toMatch(/^walkback_001/);
    expect(await refuse(64)).toContain('64 are kept already');
    expect(await keysOf(store, 'walkback_001/conflicts/')).toHaveLength(128);
  });

  describe('on a timeline that forked off', () => {
    const history = '1\t1/380000\tno recovery target specified\n';
    const setUpTimeline = async (path: string, archived: string) => {
      const set = await setUp(path);
      await set.push(Buffer.from(archived), '00000002.history');
      await writeFile(join(dirname(set.path), '00000002.history'), history);
      return set;
    };

    it('push takes the segment of the fork, and what comes after it', async () => {
      await using directory = await temporaryDirectory();
      const { push } = await setUpTimeline(directory.path, history);
      expect(await push(walSegment({ name }, { timeline: 1 }))).toBe('stored');
      expect(await push(walSegment({ name: '000000020000000100000004' }), '000000020000000100000004')).toBe('stored');
    });

    it.each<readonly [string, string, string, HeaderFaults, string]>([
      ['timeline is another server’s', name, '1\t1/300000\tby another server\n', {}, 'is another server'],
      ['position comes before the fork', '000000020000000100000002', history, {}, 'begins at 1/380000, after it'],
      ['header is older than the fork', '000000020000000100000004', history, { timeline: 1 }, 'but 2 began before it'],
    ])('push refuses a segment whose %s', async (_title, segment, archived, faults, reason) => {
      await using directory = await temporaryDirectory();
      const { push, store } = await setUpTimeline(directory.path, archived);
      await expect(push(walSegment({ name: segment }, faults), segment)).rejects.toMatchObject({
        code: 'WAL_REFUSED',
        message: expect.stringContaining(reason),
      });
      expect(await keysOf(store, 'wal_005/')).toEqual(['wal_005/00000002.history.zst']);
    });
  });

  it('push compares content when the stored object is of another tool and has no metadata', async () => {
    await using directory = await temporaryDirectory();
    const { push, store } = await setUp(directory.path, 'none');
    const bytes = walSegment({ name });
    await store.put(`wal_005/${name}`, bytes);
    expect(await push(bytes)).toBe('already-stored');
  });

  it('push succeeds when the answer to its first try was lost', async () => {
    await using directory = await temporaryDirectory();
    const { store, path } = await setUp(directory.path);
    const losing = losingFirstAnswer(store);
    const archive = createWalArchive(losing, { compression: 'zstd', segmentBytes });
    await writeFile(path, walSegment({ name }));
    const file = { path, name, systemIdentifier };
    await expect(archive.push(file)).rejects.toThrow('connection reset');
    expect(await archive.push(file)).toBe('already-stored');
  });

  it.each<readonly [string, HeaderFaults, string]>([
    ['another system identifier', { systemIdentifier: 1n }, 'system identifier 1 instead of'],
    ['a later timeline', { timeline: 3 }, 'timeline 3, later than 2'],
    ['another position', { pageAddress: 0n }, 'position 0/0 instead of 1/300000'],
    ['another segment size', { segmentBytes: 16 * 1024 * 1024 }, 'segments of 16777216 bytes'],
    ['an unknown magic number', { magic: 0xd10c }, 'does not begin with the page header'],
    ['no long header', { info: 0 }, 'does not begin with the page header'],
  ])('push refuses a segment with %s', async (_title, faults, reason) => {
    await using directory = await temporaryDirectory();
    const { push, store } = await setUp(directory.path);
    await expect(push(walSegment({ name }, faults))).rejects.toMatchObject({
      code: 'WAL_REFUSED',
      message: expect.stringContaining(reason),
    });
    expect(await keysOf(store, 'wal_005/')).toEqual([]);
  });

  it('push refuses files of a wrong size or name', async () => {
    await using directory = await temporaryDirectory();
    const { push } = await setUp(directory.path);
    await expect(push(walSegment({ name }).subarray(1))).rejects.toMatchObject({ code: 'WAL_REFUSED' });
    await expect(push(Buffer.alloc(2 * segmentBytes))).rejects.toMatchObject({ code: 'WAL_REFUSED' });
    await expect(push(Buffer.alloc(0), '00000002.history')).rejects.toMatchObject({ code: 'WAL_REFUSED' });
    await expect(push(walSegment({ name }), 'x')).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  });

  it('fetch says absent only when no object of the name exists under any extension', async () => {
    await using directory = await temporaryDirectory();
    const { archive, destination, store } = await setUp(directory.path);
    await store.put(`wal_005/${name}.00000028.backup.zst`, Buffer.from('x'));
    expect(await archive.fetch({ name, destination })).toBe('absent');
    await store.put(`wal_005/${name}.zip`, Buffer.from('x'));
    expect(await archive.fetch({ name, destination })).toBe('absent');
    await store.put(`wal_005/${name}.lzma`, Buffer.from('x'));
    await expect(archive.fetch({ name, destination })).rejects.toMatchObject({
      code: 'OBJECT_DAMAGED',
      facts: { key: `wal_005/${name}.lzma` },
    });
    await store.put(`wal_005/${name}.`, walSegment({ name }));
    expect(await archive.fetch({ name, destination })).toBe('fetched');
  });

  it('fetch refuses an object that is not the segment, and names it', async () => {
    await using directory = await temporaryDirectory();
    const { archive, push, destination, root, store } = await setUp(directory.path);
    await push(walSegment({ name }));
    const key = `wal_005/${name}.zst`;
    const bytes = await readFile(join(root, key));
    for (const damagedBytes of [bytes.subarray(0, -1), flipped(bytes, 40), Buffer.concat([bytes, Buffer.from('x')]), Buffer.alloc(0)]) {
      await writeFile(join(root, key), damagedBytes);
      await expect(archive.fetch({ name, destination })).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key } });
    }
    await expect(readFile(destination)).rejects.toThrow('ENOENT');
    const swapped = '000000020000000100000004';
    await store.put(`wal_005/${swapped}.`, walSegment({ name }));
    await expect(archive.fetch({ name: swapped, destination })).rejects.toMatchObject({ code: 'OBJECT_DAMAGED' });
    await writeFile(join(root, key), bytes);
    await expect(archive.fetch({ name, destination, systemIdentifier: '1' })).rejects.toMatchObject({ code: 'OBJECT_DAMAGED' });
  });

  it('fetch costs one listing, not one a segment, when the archive is in another compression', async () => {
    await using directory = await temporaryDirectory();
    const { store, destination } = await setUp(directory.path);
    let listCount = 0;
    const counting = watched(store, (operation) => {
      if (operation === 'list') listCount += 1;
    });
    const archive = createWalArchive(counting, { compression: 'zstd', segmentBytes });
    const names = ['000000020000000100000003', '000000020000000100000004', '000000020000000100000005'];
    for (const stored of names) await store.put(`wal_005/${stored}`, walSegment({ name: stored }));
    for (const stored of names) expect(await archive.fetch({ name: stored, destination })).toBe('fetched');
    expect(listCount).toBe(1);
  });

  it('fetch has no more than eight segments in memory, of all archives together', async () => {
    await using directory = await temporaryDirectory();
    const { store, push } = await setUp(directory.path);
    await push(walSegment({ name }));
    const answers = Promise.withResolvers<void>();
    let asked = 0;
    const holding: ObjectStore = {
      ...watched(store, () => undefined),
      get: async (key, options) => {
        asked += 1;
        await answers.promise;
        return await store.get(key, options);
      },
    };
    const fetches = Array.from({ length: 12 }, (_, index) => {
      const archive = createWalArchive(holding, { compression: 'zstd', segmentBytes });
      return archive.fetch({ name, destination: join(directory.path, `fetched-${index}`) });
    });
    await waitUntil(() => asked >= 8, { description: 'eight are asked for' });
    await nextTurn();
    expect(asked).toBe(8);
    answers.resolve();
    expect(await Promise.all(fetches)).toEqual(Array.from({ length: 12 }, () => 'fetched'));
    expect(asked).toBe(12);
  });
});

describe('readWalHeader', () => {
  it('reads every supported major version', () => {
    const majors = [0xd10d, 0xd110, 0xd113, 0xd116, 0xd118].map((magic) => readWalHeader(walSegment({ name }, { magic }))?.pgMajor);
    expect(majors).toEqual([14, 15, 16, 17, 18]);
  });

  it('whyNotSegment accepts an older timeline in the segment in which a timeline begins', () => {
    expect(whyNotSegment(walSegment({ name }, { timeline: 1 }), { name, segmentBytes, systemIdentifier })).toBeUndefined();
  });
});

function flipped(bytes: Buffer, positionBytes: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8((copy[positionBytes] ?? 0) ^ 1, positionBytes);
  return copy;
}

function losingFirstAnswer(store: ObjectStore): ObjectStore {
  let isLost = false;
  return {
    ...watched(store, () => undefined),
    put: async (key, bytes, options) => {
      const answer = await store.put(key, bytes, options);
      if (isLost) return answer;
      isLost = true;
      throw new Error('connection reset');
    },
  };
}
