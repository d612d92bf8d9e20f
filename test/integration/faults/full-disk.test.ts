/** A disk that is really full while a restore fetches to it, and then has room again. */
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { capabilitiesKey } from '../../../src/storage/capability-record.ts';
import { createDataDirectory } from '../../../src/postgres/data-directory.ts';
import { fillDisk, smallDisk } from '../../harness/small-disk.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { Scene, stepOf, untilServer } from './scene.ts';

const disk = smallDisk('faults');

it('A10: says that it waits when the disk is full, and lands by itself when there is room', async ({ skip }) => {
  if (disk.path === undefined) return skip(disk.why);
  await using scene = await Scene.open({ environment: { WALKBACK_HOST_FREE_DISK_MARGIN_MIB: '16' } });
  const { time, rows } = await scene.noteTarget();
  const gate = scene.store.hold('GetObject', 'tar_partitions');
  const dataDirectory = join(disk.path, 'full');
  const { handle } = await scene.restore({ name: 'full', target: { kind: 'time', time }, dataDirectory });
  await waitUntil(() => gate.arrived.length > 0, { timeoutMs: 60_000, description: 'the base backup is asked for' });
  const free = await fillDisk(disk.path);
  expect((await statfs(disk.path)).bavail).toBe(0);
  gate.open();
  await waitUntil(async () => (await handle.progress()).activity?.note?.startsWith('The disk is full') === true, {
    timeoutMs: 60_000,
    description: 'it says that it waits for room',
  });
  await free();
  const report = await handle.result();
  expect(await scene.rowsOf(report)).toBe(rows);
  expect(stepOf(report, 'fetch-base-backup')?.attempts).toBe(1);
});

it('says that it waits when the disk is full as it opens, and opens by itself when there is room', async ({ skip }) => {
  if (disk.path === undefined) return skip(disk.why);
  await using scene = await Scene.open({ environment: { WALKBACK_HOST_FREE_DISK_MARGIN_MIB: '16' } });
  const { time, rows } = await scene.noteTarget();
  const dataDirectory = join(disk.path, 'late');
  const { handle } = await scene.restore({ name: 'late', target: { kind: 'time', time }, dataDirectory });
  await untilServer(dataDirectory);
  const opening = scene.store.hold('GetObject', capabilitiesKey);
  await waitUntil(() => opening.arrived.length > 0, { timeoutMs: 60_000, description: 'it is about to open' });
  const free = await fillDisk(disk.path);
  opening.open();
  await waitUntil(
    async () => {
      const { phase, activity } = await handle.progress();
      return phase === 'open-to-clients' && activity?.note?.startsWith('The disk is full') === true;
    },
    { timeoutMs: 60_000, description: 'it says that it waits for room' },
  );
  await free();
  const report = await handle.result();
  expect(await scene.rowsOf(report)).toBe(rows);
  expect(stepOf(report, 'open-to-clients')?.attempts).toBe(1);
});

it('says of a data directory that it cannot be made for want of room, and makes it when there is some', async ({ skip }) => {
  if (disk.path === undefined) return skip(disk.why);
  const path = join(disk.path, 'not-yet');
  const marker = {
    restoreId: 'restore/h/not-yet',
    runId: 'r',
    name: 'not-yet',
    createdAt: '2026-11-22T10:00:00Z',
    phase: 'created',
  } as const;
  const free = await fillDisk(disk.path);
  await expect(createDataDirectory(path, marker)).rejects.toMatchObject({ code: 'NOT_ENOUGH_DISK' });
  await free();
  expect(await createDataDirectory(path, marker)).toEqual(marker);
});
