/** What the listing of the WAL says, as findings. */
import type { Finding } from '../../domain/archive-findings.ts';
import type { TimelineWal, WalHole, WalIntegrity } from '../../domain/wal-integrity.ts';
import { walKey } from '../layout.ts';

/** Names of backups in a sentence. */
const namedBackupsMaximum = 3;

/** Holes, missing history files, and backups that cannot become consistent. */
export function walFindings(integrity: WalIntegrity): readonly Finding[] {
  const unusable = integrity.backups.filter(({ isUsable }) => !isUsable);
  return [
    ...integrity.timelines.flatMap(({ holes }) => holes.map(holeFinding)),
    ...integrity.timelines.flatMap(historyFinding),
    ...unusable.map(({ backup }): Finding => ({
      kind: 'backup-unusable',
      severity: 'error',
      backup,
      text: `${backup} cannot be restored at all: WAL between its start and its finish is missing.`,
    })),
  ];
}

function holeFinding({ backups, ...range }: WalHole): Finding {
  const segments = range.count === 1 ? `The segment ${range.first}` : `${range.count} segments, ${range.first} to ${range.last},`;
  const others = backups.length > namedBackupsMaximum ? ` and ${backups.length - namedBackupsMaximum} more` : '';
  const text = `${segments} of timeline ${range.timeline} ${range.count === 1 ? 'is' : 'are'} missing: nothing behind can be reached from ${backups.slice(0, namedBackupsMaximum).join(', ')}${others}.`;
  return { kind: 'wal-hole', severity: 'error', range, text };
}

function historyFinding({ timeline, historyMissing }: TimelineWal): Finding[] {
  if (historyMissing === undefined) return [];
  const text = `${historyMissing} is missing: without it no backup of an earlier timeline finds the way to timeline ${timeline}.`;
  return [{ kind: 'history-missing', severity: 'error', key: walKey(historyMissing, ''), text }];
}
