import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { agentStatus } from '../../src/agent/client.ts';
import { archivingAlarms } from '../../src/agent/push/archiving-alarms.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import { AgentFixture, segment } from './agent-fixture.ts';

const cli = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const never = { backlogCount: 1_000, oldestAgeMs: 1e12, freeBytes: 0 };

describe('archiving alarms', () => {
  it.each([
    ['nothing, when all is well', { backlogCount: 1, oldestBacklogAgeMs: 10, pgWalFreeBytes: 1e12 }, []],
    [
      'many files that wait',
      { backlogCount: 64, oldestBacklogAgeMs: 10, pgWalFreeBytes: null },
      ['many WAL files wait to be archived: 64'],
    ],
    [
      'a file that waits for long',
      { backlogCount: 1, oldestBacklogAgeMs: 600_000, pgWalFreeBytes: 1e12 },
      ['a WAL file waits for long to be archived: 600 s'],
    ],
    [
      'a disk that is nearly full',
      { backlogCount: 0, oldestBacklogAgeMs: null, pgWalFreeBytes: 5 * 1024 ** 2 },
      ['the disk of pg_wal is nearly full, and PostgreSQL stops when it is: 5 MiB left'],
    ],
  ])('are %s', (_, state, alarms) => {
    expect(archivingAlarms({ ...state, refusals: [] }, { backlogCount: 64, oldestAgeMs: 600_000, freeBytes: 2 * 1024 ** 3 })).toEqual(
      alarms,
    );
  });

  it('are logged once when they begin, shown by `walkback archive-status`, and logged when they are over', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start({ archivingThresholds: { ...never, backlogCount: 2 }, lookoutIntervalMs: 10 });
    await fixture.registerCluster();
    fixture.files.before = () => Promise.reject(new WalkbackError('STORAGE_UNREACHABLE', 'the store is away'));
    for (const number of [1, 2]) await fixture.writeReady(segment(number));
    expect((await fixture.push(segment(1))).exitCode).toBe(1);
    await vi.waitFor(() => expect(fixture.logged.join()).toContain('Alarm: many WAL files wait to be archived: 2.'));
    const { clusters } = await agentStatus(fixture.socketPath);
    expect(clusters).toMatchObject([{ backlogCount: 2, backlogBytes: 32 * 1024 ** 2, alarms: ['many WAL files wait to be archived: 2'] }]);
    const config = join(fixture.directory, 'walkback.yaml');
    await writeFile(config, `host:\n  socket: ${fixture.socketPath}\n`);
    const shown = await fixture.run(process.execPath, [cli, '--config', config, 'archive-status', 'shop']);
    expect(shown).toMatchObject({ exitCode: 0, stderr: 'ALARM shop: many WAL files wait to be archived: 2\n' });
    const unknown = await fixture.run(process.execPath, [cli, '--config', config, 'archive-status', 'other']);
    expect(unknown.exitCode).not.toBe(0);
    expect(unknown.stderr).toContain('It knows: shop');
    fixture.files.before = () => undefined;
    expect((await fixture.push(segment(1))).exitCode).toBe(0);
    await vi.waitFor(() => expect(fixture.files.stored.has(segment(2))).toBe(true));
    await fixture.markDone(1, 2);
    await vi.waitFor(() => expect(fixture.logged.join()).toContain('It is over that many WAL files wait'));
    expect(fixture.logged.filter((line) => line.startsWith('Alarm'))).toHaveLength(1);
  });

  it('name a file that the archive refuses, because it holds other content under the name, until it is archived', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start({ archivingThresholds: never, lookoutIntervalMs: 10 });
    await fixture.registerCluster();
    fixture.files.before = () => Promise.reject(new WalkbackError('WAL_CONFLICT', 'other content'));
    await fixture.writeReady(segment(1));
    for (let asked = 0; asked < 2; asked += 1) expect((await fixture.push(segment(1))).exitCode).toBe(1);
    const alarm = `the archive refuses WAL, and PostgreSQL keeps that and all behind it: ${segment(1)} (WAL_CONFLICT)`;
    const alarms = async () => (await agentStatus(fixture.socketPath)).clusters.flatMap((cluster) => cluster.alarms);
    expect(await alarms()).toEqual([alarm]);
    await vi.waitFor(() => expect(fixture.logged.join()).toContain(`Alarm: ${alarm}.`));
    // The success of another file says nothing of this one.
    fixture.files.before = () => undefined;
    await fixture.writeReady(segment(9));
    expect((await fixture.push(segment(9))).exitCode).toBe(0);
    expect(await alarms()).toEqual([alarm]);
    expect((await fixture.push(segment(1))).exitCode).toBe(0);
    expect(await alarms()).toEqual([]);
    await vi.waitFor(() => expect(fixture.logged.join()).toContain('It is over that the archive refuses WAL'));
  });

  it('are over when the refused file does not wait any more', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start({ archivingThresholds: never });
    await fixture.registerCluster();
    fixture.files.before = () => Promise.reject(new WalkbackError('WAL_REFUSED', 'not its name'));
    await fixture.writeReady(segment(1));
    expect((await fixture.push(segment(1))).exitCode).toBe(1);
    const alarms = async () => (await agentStatus(fixture.socketPath)).clusters.flatMap((cluster) => cluster.alarms);
    expect(await alarms()).toEqual([expect.stringContaining(`${segment(1)} (WAL_REFUSED)`)]);
    await fixture.markDone(1);
    expect(await alarms()).toEqual([]);
  });
});
