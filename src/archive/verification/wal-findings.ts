/** What the listing of the WAL says, as findings. */
import type { Finding } from '../../domain/archive-findings.ts';
import type { BaseBackup } from '../../domain/base-backup.ts';
import { parseLsn } from '../../domain/lsn.ts';
import { parseWalSegmentName, segmentNumberBefore } from '../../domain/wal-segment.ts';
import type { TimelineWal, WalHole, WalIntegrity } from '../../domain/wal-integrity.ts';
import { walKey } from '../layout.ts';

/** Names of backups in a sentence. */
const namedBackupsMaximum = 3;

/** What is looked at beside the listing of the WAL. */
export interface WalFindingContext {
  readonly backupsByName: ReadonlyMap<string, BaseBackup>;
  readonly segmentBytes: number;
}

/** Holes, missing history files, and backups that cannot become consistent. */
export function walFindings(integrity: WalIntegrity, context: WalFindingContext): readonly Finding[] {
  const unusable = integrity.backups.filter(({ isUsable }) => !isUsable);
  return [
    ...integrity.timelines.flatMap(({ holes }) => holes.map((hole) => holeFinding(hole, context))),
    ...integrity.timelines.flatMap(historyFinding),
    ...unusable.map(({ backup }): Finding => ({
      kind: 'backup-unusable',
      severity: 'error',
      backup,
      text: `${backup} cannot be restored at all: WAL between its start and its finish is missing.`,
    })),
  ];
}

function holeFinding(hole: WalHole, context: WalFindingContext): Finding {
  const { backups, ...range } = hole;
  const segments = range.count === 1 ? `The segment ${range.first}` : `${range.count} segments, ${range.first} to ${range.last},`;
  const others = backups.length > namedBackupsMaximum ? ` and ${backups.length - namedBackupsMaximum} more` : '';
  const text = `${segments} of timeline ${range.timeline} ${range.count === 1 ? 'is' : 'are'} missing: nothing behind can be reached from ${backups.slice(0, namedBackupsMaximum).join(', ')}${others}.`;
  if (!isLeftByRetention(hole, context)) return { kind: 'wal-hole', severity: 'error', range, text };
  const named = backups.slice(0, namedBackupsMaximum).join(', ');
  const why = `${segments} behind the permanent ${named}${others} ${range.count === 1 ? 'is' : 'are'} gone: restores from there end at the instant at which it was taken.`;
  return { kind: 'wal-removed', severity: 'note', range, text: why };
}

/** Of a permanent backup retention keeps the WAL from its start to its finish, so the hole begins right behind the finish. */
function isLeftByRetention({ backups, first }: WalHole, { backupsByName, segmentBytes }: WalFindingContext): boolean {
  const known = backups.map((name) => backupsByName.get(name));
  if (!known.every((backup) => backup?.isPermanent === true)) return false;
  const number = parseWalSegmentName(first, segmentBytes).number;
  return known.some(
    (backup) => backup?.finishLsn !== undefined && segmentNumberBefore(parseLsn(backup.finishLsn), segmentBytes) + 1n === number,
  );
}

function historyFinding({ timeline, historyMissing }: TimelineWal): Finding[] {
  if (historyMissing === undefined) return [];
  const text = `${historyMissing} is missing: without it no backup of an earlier timeline finds the way to timeline ${timeline}.`;
  return [{ kind: 'history-missing', severity: 'error', key: walKey(historyMissing, ''), text }];
}
