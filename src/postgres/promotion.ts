/**
 * A promotion that a kill cut short. PostgreSQL removes recovery.signal and writes the history file of its new timeline, in an order that depends
 * on the minor version; the checkpoint at the end of recovery then brings pg_control to that timeline (StartupXLOG in xlog.c). Only pg_control
 * tells what a start has to be: between the two a server that is just started replays what pg_wal holds of the old timeline, past its target.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TimelineId, walFileKind } from '../domain/wal-segment.ts';
import { syncDirectory, writeFileDurably } from '../files/durable-file.ts';
import { readControlData } from './control-data.ts';

/**
 * Has the directory's server left recovery for good, onto a timeline behind the planned one? It is started as it is then; recovery to the plan's
 * target is over.
 * @throws WalkbackError as readControlData
 */
export async function isPromoted(dataDirectory: string, plannedTimeline: TimelineId): Promise<boolean> {
  const { timeline, minRecoveryPointTimeline } = await readControlData(dataDirectory);
  return Math.max(timeline, minRecoveryPointTimeline ?? 0) > plannedTimeline;
}

/**
 * Before a start, and while no process of an earlier one is left: a promoted directory is kept out of recovery, and one that is not goes back to
 * where recovery stood. What a promotion that came to nothing has made of a new timeline would otherwise be taken for the way to the target.
 */
export async function settlePromotion(dataDirectory: string, plannedTimeline: TimelineId): Promise<void> {
  const signal = join(dataDirectory, 'recovery.signal');
  if (await isPromoted(dataDirectory, plannedTimeline)) {
    await rm(signal, { force: true });
    return await syncDirectory(dataDirectory);
  }
  await writeFileDurably(signal, '');
  for (const directory of [join(dataDirectory, 'pg_wal'), join(dataDirectory, 'pg_wal', 'archive_status')])
    await removeNewerTimelines(directory, plannedTimeline);
}

async function removeNewerTimelines(directory: string, plannedTimeline: TimelineId): Promise<void> {
  const names = await namesIn(directory);
  const newer = names.filter((name) => timelineOfFile(name) > plannedTimeline);
  if (newer.length === 0) return;
  for (const name of newer) await rm(join(directory, name), { force: true });
  await syncDirectory(directory);
}

/** 0 for what is no WAL file, or its note in archive_status. */
function timelineOfFile(name: string): TimelineId {
  return walFileKind(name.replace(/\.(?:ready|done)$/, '')) === undefined ? 0 : Number.parseInt(name.slice(0, 8), 16);
}

/** PostgreSQL makes archive_status itself. */
async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
