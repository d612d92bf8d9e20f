/** What a server that is gone has left in its log decides what comes next. The logs are those of real servers. */
import { copyFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { ActivityStep } from '../../src/activities/activity.ts';
import { awaitRecovery } from '../../src/activities/await-recovery.ts';
import type { RestoreJob } from '../../src/activities/types.ts';
import type { Failure } from '../../src/agent/protocol.ts';
import { recoveryFatals } from '../../src/domain/recovery-fatals.ts';
import { recoveryLogFile } from '../../src/postgres/recovery-settings.ts';
import { temporaryDirectory } from '../archive/support/temporary.ts';

const major = 16;
const step = {
  signal: new AbortController().signal,
  report: () => undefined,
  attempt: 1,
  activityKey: 'run/1',
  attemptId: 'run/1/1',
} satisfies ActivityStep;

/** Watches a server that is gone and left that log. */
async function watched(scenario: string, failure?: Failure): ReturnType<typeof awaitRecovery> {
  await using directory = await temporaryDirectory();
  const dataDirectory = directory.path;
  const log = recoveryLogFile(dataDirectory, { major, startNumber: 1 });
  await mkdir(dirname(log), { recursive: true });
  await copyFile(fileURLToPath(new URL(`../fixtures/recovery-logs/${major}/${scenario}.jsonlog`, import.meta.url)), log);
  const job = { dataDirectory, plan: { timeline: 1, backup: { pgVersion: 160_004 } } } as unknown as RestoreJob;
  const server = { host: dataDirectory, port: 1, user: 'nobody', database: 'postgres' };
  return await awaitRecovery({ job, startNumber: 1, resumed: false, server, walFailure: async () => failure }, step);
}

describe('awaitRecovery, when the server is gone', () => {
  it('fails with RECOVERY_FAILED, the reason, what to do and the lines of the log, when another start mends nothing', async () => {
    await expect(watched('relation-missing')).rejects.toMatchObject({
      code: 'RECOVERY_FAILED',
      facts: {
        reason: 'invalid-pages',
        log: expect.arrayContaining([expect.stringContaining('PANIC: WAL contains references to invalid pages')]),
      },
    });
    await expect(watched('timeline-of-another-branch')).rejects.toMatchObject({
      code: 'RECOVERY_FAILED',
      hint: recoveryFatals['wrong-timeline'].next,
    });
  });

  it('asks for another start when the reason may pass', async () => {
    expect(await watched('killed-for-memory')).toMatchObject({ kind: 'interrupted' });
    expect(await watched('disk-full')).toMatchObject({ kind: 'interrupted' });
  });

  it('tells the setting that is too low, and how high it has to be', async () => {
    expect(await watched('max-connections-too-low')).toMatchObject({ kind: 'setting-too-low', setting: { name: 'max_connections' } });
  });
});
