/** The store makes trouble while WAL is replayed. What is not proven absent is never taken for the end of the archive. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { demoCluster } from '../../../src/demo/demo-site.ts';
import type { Fault } from '../../../src/demo/s3-server/faults.ts';
import { tarPartitionsPrefix, walKey } from '../../../src/archive/layout.ts';
import { readControlData } from '../../../src/postgres/control-data.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { expectAbandoned } from './left-behind.ts';
import { recoveryLog, Scene } from './scene.ts';
import { damage, listKeys, openArchive, remove } from './stored-objects.ts';

const segmentCount = 6;
let scene: Scene;
let segments: string[];
let target: Awaited<ReturnType<Scene['noteTarget']>>;

beforeAll(async () => {
  scene = await Scene.open({ environment: { WALKBACK_HOST_WAL_FETCH_PATIENCE_SECONDS: '1' } });
  segments = await scene.writeSegments(segmentCount);
  target = await scene.noteTarget();
});
afterEach(() => scene.store.end());
afterAll(async () => scene[Symbol.asyncDispose]());

const restoreTo = (name: string) => scene.restore({ name, target: { kind: 'time', time: target.time } });

/** The segment in the middle: rows lie before it, in it and behind it. */
const middleSegment = () => segments[segmentCount / 2]!;

describe('a WAL segment that is there and cannot be had', () => {
  it.each<[string, Fault]>([
    ['503', { kind: 'error', code: 'SlowDown' }],
    ['reset', { kind: 'reset-before-answer' }],
    ['403', { kind: 'error', code: 'AccessDenied' }],
  ])(
    'A11, A12b: is not the end of the archive: with %s PostgreSQL is stopped and started again, and never promoted',
    async (name, fault) => {
      scene.store.fail('GetObject', middleSegment(), fault);
      const { handle, request } = await restoreTo(`store-${name}`);
      const { dataDirectory } = request;
      await waitUntil(async () => (await recoveryLog(dataDirectory, 3)) !== '', {
        timeoutMs: 45_000,
        description: 'PostgreSQL was started for the third time',
      });
      await access(join(dataDirectory, 'recovery.signal'));
      expect((await readControlData(dataDirectory)).timeline).toBe(1);
      for (const startNumber of [1, 2, 3]) {
        expect(await recoveryLog(dataDirectory, startNumber)).not.toMatch(/archive recovery complete|selected new timeline/);
      }
      expect(await recoveryLog(dataDirectory, 1)).toMatch(/could not restore file/);
      scene.store.end();
      const report = await handle.result();
      expect(report).toMatchObject({ endReason: 'target-reached', timeline: 2 });
      expect(await scene.rowsOf(report)).toBe(target.rows);
    },
  );

  it('A7: fails the restore by its name when a byte of it has changed at rest', async () => {
    await using archive = openArchive(scene.site, demoCluster);
    const key = walKey(middleSegment(), 'zst');
    await using _damaged = await damage(archive, key);
    const { handle, request } = await restoreTo('segment-damaged');
    await expect(handle.result()).rejects.toMatchObject({
      code: 'OBJECT_DAMAGED',
      message: expect.stringMatching(new RegExp(`${key}.*${request.dataDirectory}`, 's')),
    });
    await expectAbandoned(scene.site, request.dataDirectory);
  });

  it('fails the restore by its name when its bytes never have the checksum that the store keeps', async () => {
    scene.store.fail('GetObject', middleSegment(), { kind: 'corrupt', atByte: 50 });
    const { handle, request } = await restoreTo('segment-corrupt');
    await expect(handle.result()).rejects.toMatchObject({
      code: 'OBJECT_DAMAGED',
      message: expect.stringContaining(middleSegment()),
    });
    await expectAbandoned(scene.site, request.dataDirectory);
  });

  it('is read again when a byte of it changed on the way once', async () => {
    const { store } = scene;
    let corrupted = 0;
    store.make(({ operation, key }) => {
      if (operation !== 'GetObject' || !key.includes(middleSegment()) || corrupted > 0) return undefined;
      corrupted += 1;
      return { kind: 'corrupt', atByte: 50 };
    });
    const { handle } = await restoreTo('segment-corrupt-once');
    const report = await handle.result();
    expect(corrupted).toBe(1);
    expect(await scene.rowsOf(report)).toBe(target.rows);
  });

  it('fails the restore by its name when somebody removed it after the plan', async () => {
    await using archive = openArchive(scene.site, demoCluster);
    // The parts wait, so that the plan is made and no WAL is fetched.
    const gate = scene.store.hold('GetObject', 'tar_partitions/');
    const { handle, request } = await restoreTo('segment-removed');
    await waitUntil(() => gate.arrived.length > 0, { timeoutMs: 30_000, description: 'the base backup is being fetched' });
    await using _removed = await remove(archive, walKey(middleSegment(), 'zst'));
    gate.open();
    await expect(handle.result()).rejects.toMatchObject({ code: 'WAL_MISSING', message: expect.stringContaining(middleSegment()) });
    await expectAbandoned(scene.site, request.dataDirectory);
  });
});

describe('a part of the base backup', () => {
  it('A7: fails the restore by its name when a byte of it has changed at rest', async () => {
    await using archive = openArchive(scene.site, demoCluster);
    const [backup] = await scene.site.client.listBackups({ cluster: demoCluster });
    const [key] = [...(await listKeys(archive, `${tarPartitionsPrefix(backup!.name)}part_`)).keys()];
    await using _damaged = await damage(archive, key!);
    const { handle, request } = await restoreTo('part-damaged');
    await expect(handle.result()).rejects.toMatchObject({
      code: 'OBJECT_DAMAGED',
      message: expect.stringMatching(new RegExp(`${key}.*${request.dataDirectory}`, 's')),
      facts: expect.objectContaining({ dataDirectory: request.dataDirectory }),
    });
    await expectAbandoned(scene.site, request.dataDirectory);
  });
});

describe('a check that gives another value than expected', () => {
  it('fails the restore, and the directory is stopped, unbootable and named in the error', async () => {
    const { handle, request } = await scene.restore({
      name: 'check-failed',
      target: { kind: 'time', time: target.time },
      checks: [
        { sql: 'SELECT 1', expected: '1' },
        { sql: 'SELECT count(*) FROM events', expected: '1000000' },
      ],
    });
    await expect(handle.result()).rejects.toMatchObject({
      code: 'CHECK_FAILED',
      message: expect.stringContaining(request.dataDirectory),
      facts: expect.objectContaining({ sql: 'SELECT count(*) FROM events', expected: '1000000', dataDirectory: request.dataDirectory }),
    });
    await expectAbandoned(scene.site, request.dataDirectory);
  });
});
