/**
 * pg_control of a backup that WAL-E wrote: a member of a part like any other. A data directory that has it can be started, so it waits aside until
 * everything else is there.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf } from '../../domain/errors.ts';
import { makeDirectoryDurably, writeFileDurably } from '../../files/durable-file.ts';
import { isAbsent } from '../../files/system-error.ts';
import { startOfLabel } from '../documents/backup-history.ts';
import { damaged } from '../documents/stored-document.ts';
import { labelMembers, pgControlMember, startSegmentOfBackupName, tarPartitionsPrefix } from '../layout.ts';

/** Name of the member, as normalizedMemberName gives it. */
export const controlName = pgControlMember.slice(1);

/** Where it waits. */
export function controlAside(stateDirectory: string): string {
  return join(stateDirectory, 'aside', controlName);
}

/** Puts it in place, last of all. @throws WalkbackError OBJECT_DAMAGED when the parts did not bring it, or a backup_label of this backup */
export async function placeControl(place: {
  readonly into: string;
  readonly stateDirectory: string;
  readonly backup: string;
}): Promise<void> {
  const { into, stateDirectory, backup } = place;
  const prefix = tarPartitionsPrefix(backup);
  const label = await readIfPresent(join(into, labelMembers.backupLabel));
  if (label === undefined) throw damaged(prefix, `none of its tars holds ${labelMembers.backupLabel}`);
  assertLabelOf(backup, label.toString('utf8'));
  const control = await readIfPresent(controlAside(stateDirectory));
  if (control === undefined) throw damaged(prefix, `none of its tars holds ${controlName}`);
  // WAL-E's parts hold the directory too, but not for a backup that somebody put together by hand.
  await makeDirectoryDurably(join(into, dirname(controlName)));
  await writeFileDurably(join(into, controlName), control);
}

function assertLabelOf(backup: string, text: string): void {
  const prefix = tarPartitionsPrefix(backup);
  let segment: string;
  try {
    ({ segment } = startOfLabel(text));
  } catch (error) {
    throw damaged(prefix, `its backup_label cannot be read: ${messageOf(error)}`, error);
  }
  if (segment === startSegmentOfBackupName(backup)) return;
  throw damaged(prefix, `its backup_label is of a backup that starts in ${segment}`);
}

async function readIfPresent(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
