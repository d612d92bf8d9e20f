/** Recorded histories of every path are replayed: a workflow that would decide differently now breaks those that are running somewhere. */
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { describe, expect, inject, it } from 'vitest';

const histories = new URL('histories/', import.meta.url);
const names = (await readdir(histories)).filter((name) => name.endsWith('.json'));

describe('recorded histories', () => {
  it('cover every path of the workflows', () => {
    expect(names.map((name) => name.replace('.json', ''))).toEqual(
      expect.arrayContaining([
        'base-backup.cancelled',
        'base-backup.cancelled-while-copying',
        'base-backup.completed',
        'base-backup.failed',
        'point-in-time-restore.cancelled',
        'point-in-time-restore.check-failed',
        'point-in-time-restore.ended-early',
        'point-in-time-restore.examined-and-protected',
        'point-in-time-restore.source-retired',
        'point-in-time-restore.older-backup',
        'point-in-time-restore.paused-and-promoted',
        'plan-restore.answered',
        'point-in-time-restore.target-reached',
        'prune.confirmed',
        'prune.planned',
        'prune.refused',
        'scheduled-prune.pruned',
        'scheduled-verification.sound',
        'undo-restore.undone',
        'verify-archive.cancelled',
        'verify-archive.completed',
      ]),
    );
  });

  // JSON histories fail to decode when npm hoists a second protobufjs (temporal.md, trap 1), so this guards against that too.
  it.each(names)('%s replays as it was', async (name) => {
    const history = JSON.parse(await readFile(fileURLToPath(new URL(name, histories)), 'utf8')) as object;
    const { workflowBundlePath } = inject('temporal');
    await Worker.runReplayHistory({ workflowBundle: { codePath: workflowBundlePath } }, history);
  });

  it('are told apart from a changed workflow', async () => {
    const text = await readFile(new URL('base-backup.completed.json', histories), 'utf8');
    const changed = JSON.parse(text.replaceAll('"copyBaseBackup"', '"copyFilesOtherwise"')) as object;
    const { workflowBundlePath } = inject('temporal');
    await expect(Worker.runReplayHistory({ workflowBundle: { codePath: workflowBundlePath } }, changed)).rejects.toThrow(
      /nondetermin|mismatch|determinism/i,
    );
  });
});
