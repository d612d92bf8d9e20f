/** A backlog of WAL, through the real archive_command. */
import { type Measurement, measureWork } from '../measure/measure.ts';
import type { Peer } from '../peers/peer.ts';
import type { MeasuredFigure, StageWithWal } from './figure.ts';

export const walPush: MeasuredFigure = {
  name: 'wal-push',
  title: 'WAL push, backlog through archive_command',
  unit: 's',
  target: { ratios: { 'wal-g': 2, pgbackrest: 1.5 } },
  when: 'after-wal',
  measure: (stage, peer) => archiveSegments(stage, peer, stage.wal.names),
};

/** Has PostgreSQL archive the segments by the contestant, which holds none of them; every one is in its archive afterwards. */
export async function archiveSegments({ site }: Pick<StageWithWal, 'site'>, peer: Peer, names: readonly string[]): Promise<Measurement> {
  const { source } = site;
  await source.setArchiveCommand('');
  await source.clearBacklog();
  await peer.forgetWal(names);
  await source.markUnarchived(names);
  const archiverPid = await source.archiverPid();
  const usage = { ...peer.archiveUsage, starters: () => [archiverPid], memoryOf: () => [archiverPid] };
  const { measurement } = await measureWork(usage, async () => {
    await source.setArchiveCommand(peer.archiveCommand);
    await source.untilArchived(names);
  });
  await source.setArchiveCommand('');
  const held = await peer.heldWal(names);
  if (held.length !== names.length) throw new Error(`${peer.name} archived ${held.length} of ${names.length} segments`);
  return measurement;
}
