/** Base backups, there and back. */
import { join } from 'node:path';
import type { Measurement } from '../measure/measure.ts';
import type { Peer } from '../peers/peer.ts';
import { discard } from '../site/bench-site.ts';
import type { MeasuredFigure, Stage, StageWithWal } from './figure.ts';

export const baseBackupPush: MeasuredFigure = {
  name: 'base-backup-push',
  title: 'base backup push',
  unit: 's',
  target: { ratios: { 'wal-g': 1.5, pgbackrest: 2 } },
  when: 'before-wal',
  measure: pushBaseBackup,
};

export const baseBackupFetch: MeasuredFigure = {
  name: 'base-backup-fetch',
  title: 'base backup fetch, fsynced',
  unit: 's',
  target: { ratios: { 'wal-g': 1.2, pgbackrest: 2 } },
  when: 'after-wal',
  measure: fetchBaseBackup,
};

/** Each starts from the same state: nothing to write at the checkpoint, nothing to archive. */
export async function pushBaseBackup({ site }: Stage, peer: Peer): Promise<Measurement> {
  await site.source.setArchiveMode(peer.needsArchiving ? 'on' : 'off');
  await site.source.checkpoint();
  await site.source.clearBacklog();
  return await peer.pushBaseBackup();
}

async function fetchBaseBackup({ site }: StageWithWal, peer: Peer): Promise<Measurement> {
  const into = join(site.restoredDirectory, 'fetched');
  try {
    return await peer.fetchBaseBackup(into);
  } finally {
    await discard(site, into);
  }
}
