/**
 * Base backups that exist and cannot be used, because a document of theirs is not as it was written. A restore that passed over one in silence would
 * replay more WAL than anybody expects, and nobody would hear of the damage: so it is named, and passed over only when that is allowed.
 */
import type { BaseBackup } from './base-backup.ts';
import { type ErrorCode, WalkbackError } from './errors.ts';
import { type Instant, microsecondsOf, parseInstant } from './instant.ts';
import type { DamagedBackup } from './landing-report.ts';
import { parseLsn } from './lsn.ts';
import { type RecoveryPlan, viewHolds } from './recovery-plan.ts';
import type { RecoveryTarget } from './recovery-target.ts';
import { parseWalSegmentName, segmentStart, type TimelineId, walSegmentName, type WalSegmentName } from './wal-segment.ts';

/** A backup with a sentinel that cannot be used. One without a sentinel is unfinished, which is no damage. */
export interface UnusableBackup {
  readonly name: string;
  /** Of the object that is wrong or missing, where it is known. */
  readonly key: string | null;
  /** What is wrong, and what was expected. */
  readonly reason: string;
  readonly code: ErrorCode;
  /** From the document that is sound, where one is: RFC 3339. */
  readonly finishTime: string | null;
}

/** More passed over at once than a person would let pass unseen. */
const passedOverMaximum = 10;
/** What says that the archive does not hold the backup as it was written; a backup whose form is not supported never was usable. */
const damageCodes: ReadonlySet<ErrorCode> = new Set(['OBJECT_DAMAGED', 'DECRYPTION_FAILED']);
const namePattern = /^base_([0-9A-F]{24})/;

/** The unusable ones, and every delta that builds on one of them. */
export function withDependents(unusable: readonly UnusableBackup[], backups: readonly BaseBackup[]): readonly UnusableBackup[] {
  const known = new Map(unusable.map((each) => [each.name, each]));
  // By finish position a delta comes behind its parent, so one walk finds whole chains.
  for (const { name, deltaFrom, finishTime } of backups) {
    const parent = deltaFrom === undefined ? undefined : known.get(deltaFrom);
    if (parent !== undefined) known.set(name, { ...parent, name, finishTime, reason: `it builds on ${parent.name}: ${parent.reason}` });
  }
  return [...known.values()];
}

/** What decides whether a plan would have begun with an unusable backup. */
export interface PassingOver {
  readonly plan: RecoveryPlan;
  readonly target: RecoveryTarget;
  readonly unusable: readonly UnusableBackup[];
  readonly restorePointLsn: string | undefined;
  readonly closedAt: (segment: WalSegmentName) => Promise<Instant | undefined>;
}

/** Damaged backups that are newer than the plan's and may have ended before the target, the oldest first. */
export async function passedOver(options: PassingOver): Promise<readonly DamagedBackup[]> {
  const over: UnusableBackup[] = [];
  for (const unusable of options.unusable) {
    const start = startOf(unusable);
    if (start === undefined || !damageCodes.has(unusable.code) || !isNewer(start, options.plan)) continue;
    if (await mayEndBefore(unusable, start, options)) over.push(unusable);
  }
  const position = ({ name }: UnusableBackup) => startOf({ name })?.name.slice(8) ?? '';
  return over
    .toSorted((one, other) => (position(one) < position(other) ? -1 : 1))
    .map(({ name: backup, key, reason }) => ({ backup, key, reason }));
}

/** @throws WalkbackError OBJECT_DAMAGED naming each of them, when the restore may not pass over damaged backups, or would over too many */
export function assertMayPassOver(
  over: readonly DamagedBackup[],
  context: { readonly plan: RecoveryPlan; readonly isAllowed: boolean },
): void {
  const newest = over.at(-1);
  if (newest === undefined || (context.isAllowed && over.length <= passedOverMaximum)) return;
  const named = over.slice(-passedOverMaximum).map(({ backup, reason }) => `${backup} cannot be used: ${reason}`);
  const older = context.plan.backup.name;
  throw new WalkbackError('OBJECT_DAMAGED', `${named.join(' ')} The newest sound base backup before the target is ${older}.`, {
    hint: context.isAllowed
      ? `More than ${passedOverMaximum} in a row are damaged: look at the archive with \`walkback verify\`; --backup ${older} names the one to take.`
      : `Bring a good copy of the object back; or with --allow-older-backup the restore begins with ${older}, and replays more WAL.`,
    facts: { backup: newest.backup, key: newest.key, olderBackup: older },
  });
}

/** The same error with what could not be used, which may be why nothing fits. */
export function namingUnusable(error: unknown, unusable: readonly UnusableBackup[], wanted: string | undefined): unknown {
  if (!(error instanceof WalkbackError) || (error.code !== 'NO_BACKUP' && error.code !== 'NO_BACKUP_BEFORE_TARGET')) return error;
  const inQuestion = unusable.filter(({ name }) => wanted === undefined || name === wanted).slice(-passedOverMaximum);
  if (inQuestion.length === 0) return error;
  const named = inQuestion.map(({ name, reason }) => `${name} cannot be used: ${reason}`).join(' ');
  const [only] = inQuestion;
  if (wanted !== undefined && only !== undefined)
    return new WalkbackError(only.code, named, { facts: { backup: only.name, key: only.key }, cause: error });
  return new WalkbackError(error.code, `${error.message} ${named}`, { hint: error.hint, facts: error.facts, cause: error });
}

interface Start {
  readonly timeline: TimelineId;
  readonly name: WalSegmentName;
}

/** A backup's name says in which segment it begins. */
function startOf({ name }: Pick<UnusableBackup, 'name'>): Start | undefined {
  const segment = namePattern.exec(name)?.[1];
  return segment === undefined ? undefined : { timeline: Number.parseInt(segment.slice(0, 8), 16), name: segment as WalSegmentName };
}

function isNewer(start: Start, { backup, view }: RecoveryPlan): boolean {
  return start.name.slice(8) > backup.startSegment.slice(8) && viewHolds(view, start);
}

/** When nothing tells, it may. */
async function mayEndBefore(
  unusable: UnusableBackup,
  start: Start,
  { plan, target, restorePointLsn, closedAt }: PassingOver,
): Promise<boolean> {
  const { walSegmentBytes } = plan;
  const { timeline, number } = parseWalSegmentName(start.name, walSegmentBytes);
  if (target.kind === 'time') {
    if (unusable.finishTime !== null) return microsecondsOf(parseInstant(unusable.finishTime)) < microsecondsOf(target.time);
    const before = number === 0n ? undefined : await closedAt(walSegmentName({ timeline, number: number - 1n }, walSegmentBytes));
    return before === undefined || microsecondsOf(before) < microsecondsOf(target.time);
  }
  const position = target.kind === 'lsn' ? target.lsn : target.kind === 'name' ? restorePointLsn : undefined;
  return position === undefined || segmentStart(number, walSegmentBytes) < parseLsn(position);
}
