/** All figures, in the order in which they are measured. */
import { baseBackupFetch, baseBackupPush } from './base-backups.ts';
import type { MeasuredFigure } from './figure.ts';
import { restoreCallAbsent, restoreCallHit } from './restore-calls.ts';
import { orchestration, restoreTotal } from './restore-total.ts';
import { walPush } from './wal-push.ts';
import { walReplay } from './wal-replay.ts';

export const figures: readonly MeasuredFigure[] = [
  baseBackupPush,
  baseBackupFetch,
  walPush,
  walReplay,
  restoreCallHit,
  restoreCallAbsent,
  restoreTotal,
  orchestration,
];
