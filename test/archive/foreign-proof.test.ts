/** Archives that other tools wrote are proven and shown as well as they can be. */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyArchive } from '../../src/archive/archive-verification.ts';
import { libsodiumKey } from '../../src/archive/encryption/libsodium-key.ts';
import { openObjectCipher } from '../../src/archive/encryption.ts';
import { readArchiveWindow } from '../../src/archive/read-window.ts';
import { createWalArchive } from '../../src/archive/wal-archive.ts';
import { windowLimitsOfAnswer } from '../../src/domain/archive-window.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import { createFileObjectStore } from '../../src/storage/file-object-store.ts';
import { fixtures } from '../harness/wal-g.ts';
import { flipByteOf } from './support/small-archive.ts';
import { keysOf, temporaryDirectory } from './support/temporary.ts';

const id = '2026-11-22T12:00:00.000Z';
const signal = new AbortController().signal;

/** What a fixture says of itself. */
interface Facts {
  readonly key?: string;
  readonly beforeDrop: { readonly now: string };
  readonly afterLastCommit: string;
}

describe.skipIf(fixtures === undefined)('archives that other tools wrote', () => {
  it.each(['walg-zstd-deltas', 'walg-lz4-full', 'walg-brotli-sodium', 'wale-lzo'])(
    'verifyArchive reads %s to its end and finds it sound, and a flipped byte in a part; its window ends with the last commit',
    async (name) => {
      await using directory = await temporaryDirectory();
      execFileSync('tar', ['-xf', join(fixtures ?? '', `${name}.tar`), '--no-same-permissions', '--no-same-owner', '-C', directory.path]);
      const facts = JSON.parse(await readFile(join(fixtures ?? '', `${name}.json`), 'utf8')) as Facts;
      const store = createFileObjectStore({ directory: join(directory.path, 'archive') });
      const libsodium = facts.key === undefined || facts.key === '' ? undefined : { key: libsodiumKey(facts.key, 'hex') };
      const cipher = await openObjectCipher({ encryption: undefined, libsodium, openPgp: undefined, foreignSetting: undefined });
      const openWal = (segmentBytes = 16 * 1024 * 1024) => createWalArchive(store, { compression: 'zstd', cipher, segmentBytes });
      const verify = (each: string) =>
        verifyArchive({
          store,
          openWal,
          cipher,
          cluster: 'shop',
          deep: true,
          id: each,
          startedAt: id,
          holeSettlesWithinMs: 0,
          signal,
          onProgress: () => undefined,
        });
      const report = await verify(id);
      expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
      expect(report.objectsRead).toBeGreaterThan(3);

      const window = await readArchiveWindow(store, { cluster: 'shop', openWal, cipher, limits: windowLimitsOfAnswer });
      expect(window.backups.every(({ isUsable }) => isUsable)).toBe(true);
      expect(window.latest).toMatchObject({ instant: null });
      expect(window.lastCommit!.time <= parseInstant(facts.afterLastCommit)).toBe(true);
      expect(window.lastCommit!.time >= parseInstant(facts.beforeDrop.now)).toBe(true);

      const [part = ''] = (await keysOf(store, 'basebackups_005/')).filter((key) => key.includes('/tar_partitions/part_'));
      await flipByteOf(store, part);
      const spoilt = await verify('spoilt');
      expect(spoilt.findings.find(({ severity }) => severity === 'error')).toMatchObject({ kind: 'object-damaged', key: part });
    },
  );
});
