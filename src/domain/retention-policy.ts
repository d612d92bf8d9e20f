/**
 * What retention keeps of an archive and what it lets go. Two orders say what is "newest", the source's clock and its WAL; where they disagree
 * (a clock that was wrong, a cluster that was walked back in place) both are believed, and more is kept.
 */
import type { BaseBackup } from './base-backup.ts';
import { WalkbackError } from './errors.ts';
import { formatInstant, type Instant, instantOfMicroseconds, microsecondsOf, parseInstant } from './instant.ts';
import { parseLsn } from './lsn.ts';
import { segmentNumberBefore, walSegmentName } from './wal-segment.ts';

/** What is asked to be kept: what either of the two keeps. */
export interface RetentionRules {
  /** The newest so many full base backups that are whole, and everything newer. */
  readonly keepFull?: number;
  /** Every instant of the last so many days. */
  readonly keepDays?: number;
}

/** What is decided on. */
export interface RetentionFacts {
  readonly rules: RetentionRules;
  readonly now: Instant;
  /** Every base backup whose documents can be read. */
  readonly backups: readonly BaseBackup[];
  /** Those that can be restored, by listing: their WAL up to their finish, their objects, their ancestors. */
  readonly whole: ReadonlySet<string>;
  /** Those that lie on the way to the newest timeline. */
  readonly onCurrentPath: ReadonlySet<string>;
  /** Those that restores in flight start from. */
  readonly claimed: ReadonlySet<string>;
  readonly segmentBytes: number;
}

/** A backup that stays, and why. */
export interface KeptBackup {
  readonly backup: BaseBackup;
  readonly reason: string;
  /** `onwards`: all WAL from its start on stays. `own`: only what it needs to become consistent; it can be restored to its finish. */
  readonly wal: 'onwards' | 'own';
}

/** The decision. */
export interface RetentionDecision {
  readonly keep: readonly KeptBackup[];
  readonly remove: readonly BaseBackup[];
  /** WAL whose name, without its timeline, is lower goes, but for `ownWal`; undefined: none goes. */
  readonly walFrom: string | undefined;
  /** Names without the timeline, first and last included, that stay below `walFrom`. */
  readonly ownWal: readonly { readonly first: string; readonly last: string }[];
}

const microsecondsOfDay = 86_400_000_000n;
const timelineDigits = 8;
const segmentNameDigits = 24;

/** Decides. Nothing of it depends on the order of the lists. */
export function decideRetention(facts: RetentionFacts): RetentionDecision {
  const keep = keptBackups(facts);
  const keptNames = new Set(keep.map(({ backup }) => backup.name));
  const remove = facts.backups.filter(({ name }) => !keptNames.has(name));
  const onwards = keep.filter(({ wal }) => wal === 'onwards').map(({ backup }) => withoutTimeline(backup.startSegment));
  return {
    keep,
    remove,
    walFrom: onwards.toSorted()[0] ?? endOfNewest(facts),
    ownWal: keep.filter(({ wal }) => wal === 'own').map(({ backup }) => ownWalOf(backup, facts.segmentBytes)),
  };
}

/**
 * Refuses what is surely not meant.
 * @param options.allowEmpty let no base backup remain. Default false
 * @param options.ignoreDamaged backups whose documents cannot be read stay, and nothing is known of what they need. Default false
 * @throws WalkbackError INVALID_REQUEST without a rule, PRUNE_REFUSED
 */
export function assertRetention(
  facts: RetentionFacts,
  decision: RetentionDecision,
  options: { readonly damaged: readonly string[]; readonly allowEmpty: boolean; readonly ignoreDamaged: boolean },
): void {
  assertRules(facts.rules);
  if (options.damaged.length > 0 && !options.ignoreDamaged) {
    throw new WalkbackError(
      'PRUNE_REFUSED',
      `The documents of ${options.damaged.join(', ')} cannot be read, so nobody knows what they need.`,
      {
        facts: { damaged: options.damaged },
        hint: 'Look at them with `walkback verify`. With --ignore-damaged they stay, and the WAL that they may need goes with the rest.',
      },
    );
  }
  if (decision.remove.length === 0 || options.allowEmpty) return;
  if (decision.keep.some(({ backup, wal }) => wal === 'onwards' && facts.whole.has(backup.name))) return;
  throw new WalkbackError(
    'PRUNE_REFUSED',
    `No base backup that can be restored would remain: ${facts.backups.length} are listed, ${facts.whole.size} are whole.`,
    {
      facts: { backups: facts.backups.length, whole: facts.whole.size },
      hint: 'Look at the archive with `walkback verify`; --allow-empty removes them all the same.',
    },
  );
}

/** @throws WalkbackError INVALID_REQUEST */
export function assertRules({ keepFull, keepDays }: RetentionRules): void {
  const isCount = (value: number | undefined, minimum: number) =>
    value === undefined || (Number.isSafeInteger(value) && value >= minimum && value <= 100_000);
  if (keepFull === undefined && keepDays === undefined)
    throw new WalkbackError('INVALID_REQUEST', 'Nothing says what is to be kept: give --keep-full, --keep-days or both.');
  if (!isCount(keepFull, 0) || !isCount(keepDays, 1))
    throw new WalkbackError('INVALID_REQUEST', 'keep-full is a whole number from 0, keep-days one from 1, to 100000.');
}

/** Does the WAL file stay? History files always do: they are small, and tell the way over the timelines. */
export function keepsWal(decision: RetentionDecision, name: string): boolean {
  const { walFrom, ownWal } = decision;
  if (walFrom === undefined || !/^[0-9A-F]{24}/.test(name)) return true;
  const place = withoutTimeline(name.slice(0, segmentNameDigits));
  return place >= walFrom || ownWal.some(({ first, last }) => first <= place && place <= last);
}

function keptBackups(facts: RetentionFacts): readonly KeptBackup[] {
  const reasons = new Map<string, KeptBackup>();
  const keep = (backup: BaseBackup, reason: string, wal: KeptBackup['wal']) => {
    if (!reasons.has(backup.name)) reasons.set(backup.name, { backup, reason, wal });
  };
  for (const order of [byTime(facts.backups), byPosition(facts.backups.filter(({ name }) => facts.onCurrentPath.has(name)))]) {
    for (const [backup, reason] of keptByRules(order, facts)) keep(backup, reason, 'onwards');
    const claimedLast = order.findLastIndex(({ name }) => facts.claimed.has(name));
    for (const backup of order.slice(0, claimedLast + 1)) keep(backup, 'a restore in flight may need it', 'onwards');
  }
  for (const backup of facts.backups.filter(({ isPermanent }) => isPermanent)) keep(backup, 'permanent', 'own');
  const byName = new Map(facts.backups.map((backup) => [backup.name, backup]));
  for (const { backup } of Array.from(reasons.values())) {
    for (const ancestor of ancestorsOf(backup, byName)) keep(ancestor, `${backup.name} is a delta of it`, 'own');
  }
  return byTime([...reasons.values()].map(({ backup }) => backup)).flatMap(({ name }) => reasons.get(name) ?? []);
}

/** The newest up to the one that completes a rule. */
function keptByRules(
  newestFirst: readonly BaseBackup[],
  { rules, whole, now }: RetentionFacts,
): readonly (readonly [BaseBackup, string])[] {
  const { keepFull = 0, keepDays } = rules;
  const fulls = newestFirst.filter(({ name, deltaFrom }) => deltaFrom === undefined && whole.has(name));
  const oldestFull = keepFull === 0 ? undefined : (fulls[keepFull - 1] ?? newestFirst.at(-1));
  const byCount = upTo(newestFirst, oldestFull).map(
    (backup) => [backup, `one of the newest ${keepFull} full base backups, or newer`] as const,
  );
  if (keepDays === undefined) return byCount;
  const since = instantOfMicroseconds(microsecondsOf(now) - BigInt(keepDays) * microsecondsOfDay);
  const first = newestFirst.find((backup) => whole.has(backup.name) && finishOf(backup) <= since) ?? newestFirst.at(-1);
  const byAge = upTo(newestFirst, first).map(
    (backup) =>
      [backup, finishOf(backup) > since ? `of the last ${keepDays} days` : `the instants from ${formatInstant(since)} on need it`] as const,
  );
  return [...byCount, ...byAge];
}

function upTo(backups: readonly BaseBackup[], last: BaseBackup | undefined): readonly BaseBackup[] {
  return last === undefined ? [] : backups.slice(0, backups.indexOf(last) + 1);
}

/** The backup that a delta is made from, and so on to the full one, as far as they are there. */
export function ancestorsOf(backup: BaseBackup, backups: ReadonlyMap<string, BaseBackup>): readonly BaseBackup[] {
  const ancestors: BaseBackup[] = [];
  let current: BaseBackup | undefined = backup;
  while (current?.deltaFrom !== undefined) {
    current = backups.get(current.deltaFrom);
    // A chain in a circle is damage; it ends here all the same.
    if (current === undefined || ancestors.includes(current) || current === backup) break;
    ancestors.push(current);
  }
  return ancestors;
}

/** With no backup left that WAL could be replayed on, all of it up to the newest one's finish is of no use. */
function endOfNewest({ backups, segmentBytes }: RetentionFacts): string | undefined {
  return backups
    .map((backup) => ownWalOf(backup, segmentBytes).last)
    .toSorted()
    .at(-1);
}

function ownWalOf(backup: BaseBackup, segmentBytes: number): { readonly first: string; readonly last: string } {
  const finish = segmentNumberBefore(parseLsn(backup.finishLsn ?? backup.startLsn), segmentBytes);
  const last = walSegmentName({ timeline: backup.timeline, number: finish }, segmentBytes);
  return { first: withoutTimeline(backup.startSegment), last: withoutTimeline(last) };
}

function withoutTimeline(segment: string): string {
  return segment.slice(timelineDigits);
}

function byTime(backups: readonly BaseBackup[]): readonly BaseBackup[] {
  return backups.toSorted((a, b) => descending(finishOf(a), finishOf(b)) || comparePositions(a, b) || descending(a.name, b.name));
}

function byPosition(backups: readonly BaseBackup[]): readonly BaseBackup[] {
  return backups.toSorted((a, b) => comparePositions(a, b) || descending(finishOf(a), finishOf(b)) || descending(a.name, b.name));
}

function comparePositions(a: BaseBackup, b: BaseBackup): number {
  return descending(parseLsn(a.finishLsn ?? a.startLsn), parseLsn(b.finishLsn ?? b.startLsn));
}

function finishOf({ finishTime }: BaseBackup): Instant {
  return parseInstant(finishTime);
}

function descending<T extends string | bigint>(a: T, b: T): number {
  if (a === b) return 0;
  return a > b ? -1 : 1;
}
