/** What there is to say about a plan: why this base backup, how much WAL, how long, and where else one could land. */
import type { ArchiveWindow } from './archive-window.ts';
import type { BaseBackup } from './base-backup.ts';
import { type DatedRecord, describeLaterRecord } from './early-end.ts';
import { formatInstant, type Instant, instantOfMicroseconds, microsecondsOf, parseInstant } from './instant.ts';
import { parseLsn } from './lsn.ts';
import { found, type PlanCheck } from './plan-check.ts';
import type { NearestInstants, RestoreEstimate } from './plan-report.ts';
import { lastSegmentOf, type RecoveryPlan, segmentCountOf } from './recovery-plan.ts';
import { commitStampMarginMs, describeTarget, type RecoveryTarget } from './recovery-target.ts';
import type { MeasuredRates, Rate } from './restore-rates.ts';
import type { CompleteRestoreRequest } from './restore-request.ts';
import { parseWalSegmentName, segmentNumberAt, segmentNumberBefore, walSegmentName, type WalSegmentName } from './wal-segment.ts';

/** Of stored bytes: a network of 1 Gbit/s. */
const assumedFetchBytesPerSecond = 100 * 1024 * 1024;
/** Of decompressed files that are synced: a common SSD. */
const assumedWriteBytesPerSecond = 200 * 1024 * 1024;
/** PostgreSQL's redo is one process (docs/benchmarks.md has what one machine does). */
const assumedReplayBytesPerSecond = 64 * 1024 * 1024;
/** PostgreSQL's starts, the flush of the source, roles, checks. */
const assumedOtherMs = 5000;
const marginMicroseconds = BigInt(commitStampMarginMs) * 1000n;

/** How many bytes a restore moves. */
export interface PlannedBytes {
  readonly backupStoredBytes: number;
  readonly backupRestoredBytes: number;
  readonly walStoredBytes: number;
  /** Of whole segments. */
  readonly walBytes: number;
}

/** Time by the rates that earlier restores of the cluster had, and by assumed ones where there are none. */
export function estimateRestore(bytes: PlannedBytes, measured: MeasuredRates): RestoreEstimate {
  const ms = (count: number, perSecond: number) => Math.round((count / perSecond) * 1000);
  const { backupStoredBytes, backupRestoredBytes, walStoredBytes, walBytes } = bytes;
  const { fetch = assumed(assumedFetchBytesPerSecond), replay = assumed(assumedReplayBytesPerSecond) } = measured;
  // A measured fetch has written its files; of an assumed one the disk may be slower than the network.
  const writeMilliseconds = fetch.restores > 0 ? 0 : ms(backupRestoredBytes, assumedWriteBytesPerSecond);
  const fetchMilliseconds = Math.max(ms(backupStoredBytes, fetch.bytesPerSecond), writeMilliseconds);
  // WAL is fetched ahead of its replay: a measured replay has waited for it.
  const walFetchMilliseconds = replay.restores > 0 ? 0 : ms(walStoredBytes, assumedFetchBytesPerSecond);
  const replayMilliseconds = Math.max(walFetchMilliseconds, ms(walBytes, replay.bytesPerSecond));
  return {
    rates: { fetch, replay },
    fetchBytes: backupStoredBytes + walStoredBytes,
    replayBytes: walBytes,
    fetchMilliseconds,
    replayMilliseconds,
    otherMilliseconds: assumedOtherMs,
    totalMilliseconds: fetchMilliseconds + replayMilliseconds + assumedOtherMs,
  };
}

function assumed(bytesPerSecond: number): Rate {
  return { bytesPerSecond, restores: 0 };
}

/** Why a plan begins with its backup. */
export function whyThisBackup(facts: {
  readonly plan: RecoveryPlan;
  readonly target: RecoveryTarget;
  /** All that can be read. */
  readonly backups: readonly BaseBackup[];
  /** Names of those that cannot. */
  readonly damaged: readonly string[];
  /** The request names it. */
  readonly isNamed: boolean;
}): string {
  const { plan, target, backups, damaged, isNamed } = facts;
  const { backup } = plan;
  const ended = `it ended ${formatInstant(parseInstant(backup.finishTime))}`;
  if (isNamed) return `The request names it; ${ended}.`;
  const newer = backups.filter((other) => parseLsn(other.finishLsn ?? other.startLsn) > parseLsn(backup.finishLsn ?? backup.startLsn));
  const after = target.kind === 'time' ? newer.filter((other) => parseInstant(other.finishTime) >= target.time) : [];
  const passedOver = newer.length - after.length;
  return [
    `Of ${backups.length} base backups it is the newest usable one that ended before ${describeTarget(target)}: ${ended}.`,
    ...(after.length === 0 ? [] : [`${after.length} ended after the target.`]),
    ...(passedOver === 0 ? [] : [`${passedOver} newer ones lie on another timeline, lack WAL, or ended after it.`]),
    ...(damaged.length === 0 ? [] : [`${damaged.length} cannot be read: ${damaged.slice(0, 3).join(', ')}.`]),
    ...(plan.givenUp ?? []).map(({ backup: name, reason }) => `${name} is newer and given up, as it was allowed: ${reason}`),
  ].join(' ');
}

/**
 * How the target lies to the end of the archived WAL.
 * @param facts.laterRecord of the WAL at its end, dated provably after the target
 */
export function walCheck(
  plan: RecoveryPlan,
  facts: Pick<CompleteRestoreRequest, 'target' | 'source' | 'cluster' | 'onEarlyEnd'> & { readonly laterRecord?: DatedRecord | undefined },
): PlanCheck {
  const { target, source, cluster, onEarlyEnd, laterRecord } = facts;
  const last = lastSegmentOf(plan.view);
  const histories = plan.view.histories.length === 0 ? '' : `, and ${plan.view.histories.join(', ')}`;
  const hole = plan.holeAfterView;
  const behind = hole === undefined ? '' : ` Behind it ${hole.first} to ${hole.last} are missing, which the target does not need.`;
  const held = `All ${segmentCountOf(plan.view)} segments from ${plan.view.segments[0]?.first} to ${last} are in the archive${histories}.${behind}`;
  if (reachesTarget(plan, target)) return found('wal', 'ok', `${held} They reach the target.`);
  const closed = plan.viewClosedAt === undefined ? '' : `, closed ${formatInstant(plan.viewClosedAt)}`;
  if (source !== 'leave')
    return found(
      'wal',
      'ok',
      `${held} Whether they reach the target is seen when ${sourceStep(source, cluster)}, which a plan does not do.`,
    );
  if (laterRecord !== undefined) return found('wal', 'ok', `${held} ${describeLaterRecord(laterRecord)}: they hold every commit up to it.`);
  const text = `${held} Nothing proves that the WAL up to ${last}${closed} holds every commit up to the target: recovery may end before it, and --on-early-end is ${onEarlyEnd}.`;
  return found('wal', 'warning', text);
}

function sourceStep(source: 'keep' | 'stop' | 'salvage', cluster: string): string {
  if (source === 'salvage') return `the WAL that ${cluster} has not archived is brought into the archive`;
  return `${cluster} ${source === 'stop' ? 'is stopped' : 'closes its segment'} for the restore`;
}

/** Is it certain without looking into the WAL? */
export function reachesTarget(plan: RecoveryPlan, target: RecoveryTarget): boolean {
  if (target.kind === 'latest' || target.kind === 'immediate') return true;
  if (target.kind === 'time')
    return plan.viewClosedAt !== undefined && microsecondsOf(plan.viewClosedAt) > microsecondsOf(target.time) + marginMicroseconds;
  const last = lastSegmentOf(plan.view);
  if (target.kind !== 'lsn' || last === undefined) return false;
  return segmentNumberAt(parseLsn(target.lsn), plan.walSegmentBytes) <= parseWalSegmentName(last, plan.walSegmentBytes).number;
}

/**
 * How many segments of the view are replayed up to the target; null where only replay can tell.
 * @param lookUp what the archive knows: asked for the closing times of at most some sixty segments, because they ascend
 */
export async function segmentsToTarget(
  plan: RecoveryPlan,
  target: RecoveryTarget,
  lookUp: {
    readonly closedAt: (segment: WalSegmentName) => Promise<Instant | undefined>;
    readonly restorePointLsn: string | undefined;
  },
): Promise<number | null> {
  const all = segmentCountOf(plan.view);
  if (target.kind === 'latest') return all;
  if (target.kind === 'time') return await countUntilClosed(plan, microsecondsOf(target.time) + marginMicroseconds, lookUp.closedAt);
  const finish = plan.backup.finishLsn ?? plan.backup.startLsn;
  const position = target.kind === 'lsn' ? target.lsn : target.kind === 'immediate' ? finish : lookUp.restorePointLsn;
  if (target.kind === 'xid' || position === undefined) return null;
  const first = segmentNumberAt(parseLsn(plan.backup.startLsn), plan.walSegmentBytes);
  const last =
    target.kind === 'immediate'
      ? segmentNumberBefore(parseLsn(position), plan.walSegmentBytes)
      : segmentNumberAt(parseLsn(position), plan.walSegmentBytes);
  return Math.min(all, Math.max(1, Number(last - first) + 1));
}

/** The first segment that was closed after the instant is the last one replayed. */
async function countUntilClosed(
  plan: RecoveryPlan,
  microseconds: bigint,
  closedAt: (segment: WalSegmentName) => Promise<Instant | undefined>,
): Promise<number | null> {
  let [low, high] = [0, segmentCountOf(plan.view)];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const closed = await closedAt(segmentOfView(plan, middle));
    if (closed === undefined) return null;
    if (microsecondsOf(closed) > microseconds) high = middle;
    else low = middle + 1;
  }
  return Math.min(low + 1, segmentCountOf(plan.view));
}

/** The segment of the view at an index from 0 on. @throws RangeError */
export function segmentOfView({ view, walSegmentBytes }: RecoveryPlan, index: number): WalSegmentName {
  let before = 0;
  for (const { timeline, first, count } of view.segments) {
    const number = parseWalSegmentName(first, walSegmentBytes).number;
    if (index < before + count) return walSegmentName({ timeline, number: number + BigInt(index - before) }, walSegmentBytes);
    before += count;
  }
  throw new RangeError(`the view has no segment ${index}`);
}

/** The restorable instants around a target in time; null when it is one itself, or no instant. */
export function nearestInstants(window: Pick<ArchiveWindow, 'backups'>, target: RecoveryTarget): NearestInstants | null {
  if (target.kind !== 'time') return null;
  const wanted = microsecondsOf(target.time);
  const stretches = window.backups.flatMap(({ isUsable, from, toClosedAt }) => {
    if (!isUsable || toClosedAt === undefined) return [];
    return [{ from: microsecondsOf(from), to: microsecondsOf(toClosedAt) - marginMicroseconds }];
  });
  if (stretches.some(({ from, to }) => from < wanted && wanted <= to)) return null;
  const before = stretches.filter(({ from, to }) => from < to && to < wanted).map(({ to }) => to);
  const after = stretches.filter(({ from }) => from >= wanted).map(({ from }) => from);
  const pick = (values: readonly bigint[], isBetter: (one: bigint, best: bigint) => boolean) => {
    const best = values.reduce<bigint | undefined>(
      (found, value) => (found === undefined || isBetter(value, found) ? value : found),
      undefined,
    );
    return best === undefined ? null : instantOfMicroseconds(best);
  };
  return { before: pick(before, (one, best) => one > best), after: pick(after, (one, best) => one < best) };
}
