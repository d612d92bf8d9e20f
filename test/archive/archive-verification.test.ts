import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyArchive } from '../../src/archive/archive-verification.ts';
import { manifestKey, metadataKey, sentinelKey, tarPartitionsPrefix, walKey } from '../../src/archive/layout.ts';
import { readCheckpoint, writeCheckpoint } from '../../src/archive/verification/checkpoint.ts';
import { boundedReport, type Finding, type VerificationReport } from '../../src/domain/archive-findings.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { flipByteOf, SmallArchive, type SmallBackup, smallSegment } from './support/small-archive.ts';
import { damagedAtFirst, storeIn, temporaryDirectory, watched } from './support/temporary.ts';

const signal = new AbortController().signal;
const full: SmallBackup = { start: 3, finishTime: '2026-11-22T10:00:00Z' };
const delta: SmallBackup = { start: 6, finishTime: '2026-11-22T11:00:00Z', parent: full };
const deltaName = `base_${smallSegment(6)}_D_${smallSegment(3)}`;
const fullName = `base_${smallSegment(3)}`;
const part = (name: string, file: string) => `${tarPartitionsPrefix(name)}${file}`;

/** A full backup, a delta of it, and segments 2 to 9. */
async function archived(directory: string): Promise<SmallArchive> {
  const archive = new SmallArchive((await storeIn(directory)).store, directory);
  await archive.addWal([2, 3, 4, 5, 6, 7, 8, 9]);
  await archive.addBackup(full);
  await archive.addBackup(delta);
  return archive;
}

async function verify(
  archive: SmallArchive,
  options: { readonly deep?: boolean; readonly id?: string; readonly store?: ObjectStore } = {},
) {
  const { deep = false, id = '2026-11-22T12:00:00.000Z', store = archive.store } = options;
  const told: number[] = [];
  const report = await verifyArchive({
    store,
    openWal: archive.openWal,
    cipher: undefined,
    cluster: 'shop',
    deep,
    id,
    startedAt: id,
    holeSettlesWithinMs: 0,
    signal,
    onProgress: ({ bytesDone }) => told.push(bytesDone),
  });
  return { report, told };
}

function errorsOf({ findings }: VerificationReport): readonly (readonly [Finding['kind'], string | undefined])[] {
  return findings.filter(({ severity }) => severity === 'error').map(({ kind, key, backup }) => [kind, key ?? backup]);
}

describe('verifyArchive', () => {
  it('verifyArchive finds nothing in an archive that is whole, reads every object that is needed when deep, and stores its report', async () => {
    await using directory = await temporaryDirectory();
    const archive = await archived(directory.path);
    const { report } = await verify(archive);
    expect(report).toMatchObject({ isSound: true, errors: 0, notes: 0, backups: 2, objectsRead: 0 });
    expect(report.timelines).toEqual([{ timeline: 1, segmentsHeld: 8, segmentsNeeded: 7, segmentsMissing: 0 }]);
    const { report: deep, told } = await verify(archive, { deep: true, id: 'deep' });
    // Six tars, and segments 3 to 9: no backup needs segment 2.
    expect(deep).toMatchObject({ isSound: true, objectsRead: 6 + 7 });
    expect(told.at(-1)).toBe(deep.bytesRead);
    expect(await readCheckpoint(archive.store, 'deep', signal)).toEqual({ state: 'done', report: deep });
  });

  it('verifyArchive names what is missing: a segment, a part, a history file, an ancestor', async () => {
    await using directory = await temporaryDirectory();
    const archive = await archived(directory.path);
    await archive.store.delete([walKey(smallSegment(5), 'zst'), walKey(smallSegment(7), 'zst'), part(deltaName, 'part_002.tar')]);
    const { report } = await verify(archive);
    expect(report.isSound).toBe(false);
    expect(errorsOf(report)).toEqual([
      ['wal-hole', undefined],
      ['wal-hole', undefined],
      ['object-missing', part(deltaName, 'part_002.tar')],
    ]);
    const [first, second] = report.findings;
    expect(first?.range).toEqual({ timeline: 1, first: smallSegment(5), last: smallSegment(5), count: 1 });
    expect(first?.text).toBe(`The segment ${smallSegment(5)} of timeline 1 is missing: nothing behind can be reached from ${fullName}.`);
    expect(second?.text).toContain(`${fullName}, ${deltaName}`);
    await archive.store.delete([sentinelKey(fullName)]);
    const { report: orphaned } = await verify(archive, { id: 'second' });
    expect(errorsOf(orphaned)).toContainEqual(['chain-broken', deltaName]);
    expect(orphaned.findings).toContainEqual(expect.objectContaining({ kind: 'backup-incomplete', severity: 'note', backup: fullName }));
  });

  it('verifyArchive takes what retention has left behind a permanent backup for no error, and anything else for one', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    const archive = new SmallArchive(store, directory.path);
    await archive.addWal([3, 4, 8, 9]);
    const permanent = await archive.addBackup({ start: 3, finish: 4, finishTime: '2026-11-22T10:00:00Z', isPermanent: true });
    await archive.addBackup({ start: 8, finishTime: '2026-11-22T11:00:00Z' });
    const { report } = await verify(archive);
    expect(report).toMatchObject({ isSound: true, errors: 0, notes: 1 });
    expect(report.findings[0]).toMatchObject({ kind: 'wal-removed', severity: 'note', text: expect.stringContaining(permanent) as string });
    // A hole that begins elsewhere was made by nobody of ours.
    await archive.addWal([5]);
    const { report: holed } = await verify(archive, { id: 'holed' });
    expect(errorsOf(holed)).toEqual([['wal-hole', undefined]]);
  });

  it('verifyArchive says which backup cannot become consistent, and which timeline cannot be found', async () => {
    await using directory = await temporaryDirectory();
    const archive = await archived(directory.path);
    await archive.addWal([10, 11], { timeline: 2 });
    await archive.addBackup({ timeline: 2, start: 11, finish: 13, finishTime: '2026-11-22T12:00:00Z' });
    const { report } = await verify(archive);
    expect(errorsOf(report)).toContainEqual(['history-missing', 'wal_005/00000002.history']);
    expect(errorsOf(report)).toContainEqual(['backup-unusable', `base_${smallSegment(11, 2)}`]);
  });

  it.each([
    ['part', part(fullName, 'part_001.tar'), 'object-damaged'],
    ['segment', walKey(smallSegment(4), 'zst'), 'object-damaged'],
    ['history file', 'wal_005/00000002.history.zst', 'object-damaged'],
    ['sentinel', sentinelKey(fullName), 'backup-damaged'],
    ['metadata.json', metadataKey(deltaName), 'backup-damaged'],
    ['manifest', manifestKey(fullName), 'object-damaged'],
  ] as const)('verifyArchive finds one flipped byte in a %s, by key', async (_what, key, kind) => {
    await using directory = await temporaryDirectory();
    const archive = await archived(directory.path);
    await archive.addHistory(2, '1\t0/A00000\tno recovery target specified\n');
    await archive.addWal([10], { timeline: 2 });
    expect((await verify(archive, { deep: true, id: 'before' })).report).toMatchObject({ isSound: true });
    await flipByteOf(archive.store, key);
    const { report } = await verify(archive, { deep: true });
    const found = report.findings.filter(({ severity }) => severity === 'error');
    expect(found.map((finding) => finding.kind)).toContain(kind);
    expect(found.some(({ text }) => text.includes(kind === 'backup-damaged' ? key : `${key} is damaged`))).toBe(true);
    const isDocument = !key.includes('tar') && !key.startsWith('wal_');
    expect((await verify(archive, { id: 'shallow' })).report.isSound).toBe(!isDocument && !key.includes('history'));
  });

  it('verifyArchive finds a truncated part and a foreign tar by listing alone', async () => {
    await using directory = await temporaryDirectory();
    const archive = await archived(directory.path);
    await archive.store.put(part(fullName, 'part_001.tar'), Buffer.alloc(10));
    await archive.store.put(part(fullName, 'part_009.tar'), Buffer.alloc(10));
    const { report } = await verify(archive);
    expect(errorsOf(report)).toEqual([
      ['object-damaged', part(fullName, 'part_001.tar')],
      ['object-unexpected', part(fullName, 'part_009.tar')],
    ]);
    expect(report.findings[0]?.text).toContain('it has 10 bytes instead of 20000');
  });

  it('verifyArchive says of a backup without a manifest that nothing is recorded, and reads its tars to their end when deep', async () => {
    await using directory = await temporaryDirectory();
    const archive = new SmallArchive((await storeIn(directory.path)).store, directory.path);
    await archive.addWal([3, 4]);
    await archive.addBackup({ ...full, withoutManifest: true });
    expect((await verify(archive)).report).toMatchObject({
      isSound: true,
      notes: 1,
      findings: [{ kind: 'backup-unrecorded', severity: 'note' }],
    });
    const { report } = await verify(archive, { deep: true, id: 'deep' });
    expect(errorsOf(report)[0]).toEqual(['object-damaged', part(fullName, 'part_001.tar')]);
  });

  it('verifyArchive reads once more what came damaged, and finds nothing in it then', async () => {
    await using directory = await temporaryDirectory();
    const { store, root } = await storeIn(directory.path);
    const archive = new SmallArchive(store, directory.path);
    await archive.addWal([3, 4, 5, 6]);
    await archive.addBackup(full);
    const { troubled, reads } = damagedAtFirst(store, root);
    const { report, told } = await verify(archive, { deep: true, store: troubled });
    expect(report).toMatchObject({ isSound: true, errors: 0 });
    expect(told.at(-1)).toBe(report.bytesRead);
    expect(reads.get(part(fullName, 'part_001.tar'))).toBe(2);
  });

  it('verifyArchive notes which backup holds pages that were damaged at the source', async () => {
    await using directory = await temporaryDirectory();
    const archive = new SmallArchive((await storeIn(directory.path)).store, directory.path);
    await archive.addWal([3, 4]);
    await archive.addBackup({ ...full, damagedBlocks: 2 });
    const { report } = await verify(archive);
    expect(report).toMatchObject({ isSound: true, findings: [{ kind: 'pages-damaged', severity: 'note', backup: fullName }] });
  });

  it('verifyArchive goes on behind the last checkpoint, and keeps what was found before it', async () => {
    await using directory = await temporaryDirectory();
    const archive = await archived(directory.path);
    const before: Finding = { kind: 'object-damaged', severity: 'error', key: part(fullName, 'part_001.tar'), text: 'found before' };
    const checkpoint = {
      state: 'running',
      through: walKey(smallSegment(8), 'zst'),
      objectsRead: 12,
      bytesRead: 99,
      findings: [before],
    } as const;
    await writeCheckpoint(archive.store, 'again', { checkpoint, signal });
    const read: string[] = [];
    const store = watched(archive.store, (operation, key) => operation === 'get' && read.push(key));
    const { report } = await verify(archive, { deep: true, id: 'again', store });
    expect(report).toMatchObject({ isSound: false, objectsRead: 13, findings: [before] });
    expect(read.filter((key) => key.includes('tar_partitions'))).toEqual([]);
    const again = await verify(archive, { deep: true, id: 'again', store });
    expect(again.report).toEqual(report);
  });

  it('verifyArchive does not report a backup that was removed while it was verified', async () => {
    await using directory = await temporaryDirectory();
    const archive = await archived(directory.path);
    const store = watched(archive.store, () => undefined);
    const removing: ObjectStore = {
      ...store,
      get: async (key, options) => {
        const object = await store.get(key, options);
        if (key === manifestKey(fullName)) await archive.store.delete([sentinelKey(deltaName), part(deltaName, 'part_001.tar')]);
        return object;
      },
    };
    const { report } = await verify(archive, { store: removing });
    expect(report).toMatchObject({ isSound: true, errors: 0 });
  });

  it('verifyArchive throws when the store does not answer, and reports nothing about the archive then', async () => {
    await using directory = await temporaryDirectory();
    const archive = await archived(directory.path);
    await rename(join(directory.path, 'archive'), join(directory.path, 'away'));
    await expect(verify(archive)).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
  });

  it('boundedReport fits in an answer of Temporal, whatever was found', () => {
    const finding: Finding = { kind: 'wal-hole', severity: 'error', key: 'k'.repeat(100), backup: 'b'.repeat(60), text: 't'.repeat(5000) };
    const report = {
      cluster: 'shop',
      deep: true,
      isSound: false,
      startedAt: '',
      finishedAt: '',
      backups: 1,
      objectsRead: 1,
      bytesRead: 1,
      errors: 10_000,
      notes: 0,
      timelines: Array.from({ length: 5000 }, (_, timeline) => ({
        timeline,
        segmentsHeld: 1e6,
        segmentsNeeded: 1e6,
        segmentsMissing: 1e6,
      })),
      findings: Array.from({ length: 10_000 }, () => finding),
      findingsLeftOut: 0,
      reportKey: 'k',
    };
    const bounded = boundedReport(report);
    expect(JSON.stringify(bounded).length).toBeLessThan(64 * 1024);
    expect(bounded.findingsLeftOut).toBe(10_000 - bounded.findings.length);
  });
});
