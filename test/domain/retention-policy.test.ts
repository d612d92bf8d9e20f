import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BaseBackup } from '../../src/domain/base-backup.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import { boundedPruneReport } from '../../src/domain/prune-report.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import { planRecovery } from '../../src/domain/recovery-plan.ts';
import {
  ancestorsOf,
  assertRetention,
  assertRules,
  decideRetention,
  keepsWal,
  type RetentionDecision,
  type RetentionFacts,
  type RetentionRules,
} from '../../src/domain/retention-policy.ts';
import { walIntegrity } from '../../src/domain/wal-integrity.ts';
import { defaultWalSegmentBytes } from '../../src/domain/wal-segment.ts';
import { backup, type BackupStory, fork, minute, segment, wal } from './support/archive.ts';

const minutesOfDay = 24 * 60;

/** Code of the error that is thrown; undefined when none is. */
function codeOf(call: () => void): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof WalkbackError) return error.code;
    throw error;
  }
}

/** A backup of a test, by day instead of minute. */
interface Story extends Omit<BackupStory, 'finishMinute'> {
  readonly day: number;
  readonly parent?: BaseBackup;
  readonly isPermanent?: boolean;
}

function taken({ day, parent, isPermanent = false, ...story }: Story): BaseBackup {
  const full = backup({ ...story, finishMinute: day * minutesOfDay });
  const name = parent === undefined ? full.name : `${full.name}_D_${parent.startSegment}`;
  return { ...full, name, deltaFrom: parent?.name, isPermanent };
}

function factsOf(
  rules: RetentionRules,
  backups: readonly BaseBackup[],
  more: Partial<RetentionFacts> & { readonly today?: number } = {},
): RetentionFacts {
  const { today = 100, ...rest } = more;
  return {
    rules,
    now: minute(today * minutesOfDay),
    backups,
    whole: new Set(backups.map(({ name }) => name)),
    onCurrentPath: new Set(backups.map(({ name }) => name)),
    claimed: new Set(),
    segmentBytes: defaultWalSegmentBytes,
    ...rest,
  };
}

const namesOf = (backups: readonly BaseBackup[]) => backups.map(({ name }) => name).toSorted();
const kept = (decision: RetentionDecision) => decision.keep.map(({ backup: { name } }) => name).toSorted();

describe('decideRetention', () => {
  const days = [10, 20, 30, 40, 50].map((day, index) => taken({ startSegment: 10 * (index + 1), day }));

  it('decideRetention keeps the newest full backups and all WAL from the oldest of them on', () => {
    const decision = decideRetention(factsOf({ keepFull: 2 }, days));
    expect(kept(decision)).toEqual(namesOf(days.slice(3)));
    expect(namesOf(decision.remove)).toEqual(namesOf(days.slice(0, 3)));
    expect(
      [
        segment(1, 39),
        segment(1, 40),
        segment(7, 40),
        '00000002.history',
        `${segment(1, 39)}.partial`,
        `${segment(1, 40)}.00000028.backup`,
      ].map((name) => keepsWal(decision, name)),
    ).toEqual([false, true, true, true, false, true]);
  });

  it('decideRetention keeps with the days the backup before them, so that every instant of them can be restored', () => {
    const decision = decideRetention(factsOf({ keepDays: 15 }, days, { today: 50 }));
    // Day 35 to 50: the backup of day 30 leads there.
    expect(kept(decision)).toEqual(namesOf(days.slice(2)));
    expect(decision.keep.find(({ backup: { name } }) => name === days[2]!.name)?.reason).toContain('on need it');
  });

  it('decideRetention keeps what either rule keeps', () => {
    expect(kept(decideRetention(factsOf({ keepFull: 1, keepDays: 15 }, days, { today: 50 })))).toEqual(namesOf(days.slice(2)));
    expect(kept(decideRetention(factsOf({ keepFull: 4, keepDays: 1 }, days, { today: 50 })))).toEqual(namesOf(days.slice(1)));
  });

  it('decideRetention does not count a backup that cannot be restored, and keeps it all the same when it is newer', () => {
    const whole = new Set(namesOf(days).filter((name) => name !== days[4]!.name));
    expect(kept(decideRetention(factsOf({ keepFull: 1 }, days, { whole })))).toEqual(namesOf(days.slice(3)));
  });

  it('decideRetention keeps the ancestors of a kept delta with the WAL that makes them consistent, and no more', () => {
    const full = taken({ startSegment: 10, day: 1 });
    const first = taken({ startSegment: 20, day: 2, parent: full });
    const second = taken({ startSegment: 30, finishSegment: 31, day: 3, parent: first });
    const other = taken({ startSegment: 25, day: 2.5 });
    const decision = decideRetention(factsOf({ keepDays: 1 }, [full, first, other, second], { today: 4 }));
    expect(kept(decision)).toEqual(namesOf([full, first, second]));
    expect([9, 10, 11, 19, 20, 21, 25, 30].map((number) => keepsWal(decision, segment(1, number)))).toEqual([
      false,
      true,
      false,
      false,
      true,
      false,
      false,
      true,
    ]);
  });

  it('decideRetention keeps a permanent backup, what it is a delta of, and their own WAL', () => {
    const full = taken({ startSegment: 10, day: 1 });
    const marked = taken({ startSegment: 20, finishSegment: 22, day: 2, parent: full, isPermanent: true });
    const newest = taken({ startSegment: 90, day: 50 });
    const decision = decideRetention(factsOf({ keepFull: 1 }, [full, marked, newest]));
    expect(kept(decision)).toEqual(namesOf([full, marked, newest]));
    expect([19, 20, 22, 23, 89, 90].map((number) => keepsWal(decision, segment(1, number)))).toEqual([
      false,
      true,
      true,
      false,
      false,
      true,
    ]);
  });

  it('decideRetention keeps what a restore in flight has claimed, everything newer, and all WAL from there on', () => {
    const decision = decideRetention(factsOf({ keepFull: 1 }, days, { claimed: new Set([days[1]!.name]) }));
    expect(kept(decision)).toEqual(namesOf(days.slice(1)));
    expect([19, 20, 35].map((number) => keepsWal(decision, segment(1, number)))).toEqual([false, true, true]);
  });

  it('decideRetention believes the clock and the WAL where they disagree about what is newest', () => {
    // The clock of one day was a year ahead; and a cluster that was walked back in place has newer backups at lower positions.
    const ahead = taken({ startSegment: 20, day: 365 });
    const right = taken({ startSegment: 30, day: 3 });
    expect(kept(decideRetention(factsOf({ keepFull: 1 }, [ahead, right])))).toEqual(namesOf([ahead, right]));
    const left = taken({ startSegment: 80, day: 10 });
    const walkedBack = taken({ timeline: 2, startSegment: 40, day: 11 });
    const facts = factsOf({ keepFull: 1 }, [left, walkedBack], { onCurrentPath: new Set([walkedBack.name]) });
    expect(kept(decideRetention(facts))).toEqual([walkedBack.name]);
  });

  it('decideRetention lets no WAL go where there is no backup', () => {
    expect(keepsWal(decideRetention(factsOf({ keepFull: 7 }, [])), segment(1, 1))).toBe(true);
  });

  it('decideRetention lets everything go but permanent backups when nothing is to be kept, and WAL only up to the newest finish', () => {
    const decision = decideRetention(factsOf({ keepFull: 0 }, days));
    expect(decision.keep).toEqual([]);
    expect([49, 50, 51].map((number) => keepsWal(decision, segment(1, number)))).toEqual([false, true, true]);
  });
});

describe('assertRetention', () => {
  const days = [taken({ startSegment: 10, day: 1 }), taken({ startSegment: 20, day: 2 })];
  const refusal = (facts: RetentionFacts, options: Partial<Parameters<typeof assertRetention>[2]> = {}) =>
    codeOf(() => assertRetention(facts, decideRetention(facts), { damaged: [], allowEmpty: false, ignoreDamaged: false, ...options }));

  it('assertRetention refuses when nothing that can be restored would remain, unless that is asked for', () => {
    expect(refusal(factsOf({ keepFull: 1 }, days))).toBeUndefined();
    expect(refusal(factsOf({ keepFull: 0 }, days))).toBe('PRUNE_REFUSED');
    expect(refusal(factsOf({ keepFull: 0 }, days), { allowEmpty: true })).toBeUndefined();
    const unknown = taken({ startSegment: 5, day: 0.5 });
    expect(refusal(factsOf({ keepDays: 1 }, [unknown, ...days], { today: 3, whole: new Set([unknown.name]) }))).toBeUndefined();
    expect(refusal(factsOf({ keepFull: 1, keepDays: 1 }, [unknown, ...days], { whole: new Set() }))).toBeUndefined();
  });

  it('assertRetention refuses when documents cannot be read, unless they are to be ignored', () => {
    expect(refusal(factsOf({ keepFull: 1 }, days), { damaged: ['base_x'] })).toBe('PRUNE_REFUSED');
    expect(refusal(factsOf({ keepFull: 1 }, days), { damaged: ['base_x'], ignoreDamaged: true })).toBeUndefined();
  });

  it.each([[{}], [{ keepFull: -1 }], [{ keepFull: 1.5 }], [{ keepDays: 0 }], [{ keepDays: 1e9 }]])('assertRules refuses %j', (rules) => {
    expect(codeOf(() => assertRules(rules))).toBe('INVALID_REQUEST');
  });
});

describe('retention as a whole', () => {
  const lastSegment = 40;
  const stories = fc.record({
    keepFull: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
    keepDays: fc.integer({ min: 1, max: 20 }),
    forkSegment: fc.integer({ min: 5, max: 35 }),
    missing: fc.uniqueArray(fc.integer({ min: 1, max: lastSegment }), { maxLength: 3 }),
    backups: fc.uniqueArray(
      fc.record({
        start: fc.integer({ min: 1, max: 37 }),
        length: fc.integer({ min: 0, max: 2 }),
        parent: fc.integer({ min: 0, max: 12 }),
        isPermanent: fc.boolean(),
        isClaimed: fc.boolean(),
        skewDays: fc.integer({ min: -3, max: 3 }),
      }),
      { minLength: 1, maxLength: 8, selector: ({ start, length }) => start + length },
    ),
  });
  type Whole = typeof stories extends fc.Arbitrary<infer S> ? S : never;

  /** A day a segment, on two timelines. */
  function archiveOf(story: Whole) {
    const timelineAt = (number: number) => (number < story.forkSegment ? 1 : 2);
    const backups: BaseBackup[] = [];
    const claimed = new Set<string>();
    for (const { start, length, parent, isPermanent, isClaimed, skewDays } of story.backups.toSorted((a, b) => a.start - b.start)) {
      const finishSegment = start + length;
      if (
        timelineAt(start) !== timelineAt(finishSegment) ||
        backups.some(({ startSegment }) => startSegment.endsWith(segment(1, start).slice(8)))
      )
        continue;
      const made = taken({
        timeline: timelineAt(start),
        startSegment: start,
        finishSegment,
        day: start + skewDays,
        isPermanent,
        ...(backups[parent] === undefined ? {} : { parent: backups[parent] }),
      });
      backups.push(made);
      if (isClaimed && parent > 10) claimed.add(made.name);
    }
    const numbers = Array.from({ length: lastSegment }, (_, index) => index + 1).filter((number) => !story.missing.includes(number));
    const holdings = wal(
      numbers.map((number) => segment(timelineAt(number), number)),
      { 2: fork(1, story.forkSegment, 0x100) },
    );
    const integrity = walIntegrity(backups, holdings);
    const byName = new Map(backups.map((each) => [each.name, each]));
    const usable = new Set(integrity.backups.filter(({ isUsable }) => isUsable).map((reach) => reach.backup));
    const facts = factsOf({ ...(story.keepFull === undefined ? {} : { keepFull: story.keepFull }), keepDays: story.keepDays }, backups, {
      today: lastSegment + 2,
      whole: usable,
      claimed,
    });
    return { backups, holdings, integrity, byName, usable, facts };
  }

  it('retention never breaks a chain, the WAL of a kept backup, a permanent one or a restore in flight; and a second run finds nothing', () => {
    fc.assert(
      fc.property(stories, (story) => {
        const { backups, holdings, integrity, byName, usable, facts } = archiveOf(story);
        const decision = decideRetention(facts);
        const stays = decision.keep.map(({ backup: each }) => each);
        const names = new Set(stays.map(({ name }) => name));
        for (const each of stays) for (const ancestor of ancestorsOf(each, byName)) expect(names.has(ancestor.name)).toBe(true);
        for (const each of backups) expect(names.has(each.name) || !(each.isPermanent || facts.claimed.has(each.name))).toBe(true);

        const after = wal(
          [...holdings.segments].filter((name) => keepsWal(decision, name)),
          { 2: fork(1, story.forkSegment, 0x100) },
        );
        const reachBefore = new Map(integrity.backups.map((reach) => [reach.backup, reach]));
        for (const reach of walIntegrity(stays, after).backups) {
          const before = reachBefore.get(reach.backup)!;
          expect(reach.isUsable).toBe(before.isUsable);
          const goesOn = decision.keep.some(({ backup: { name }, wal: how }) => name === reach.backup && how === 'onwards');
          expect(goesOn ? reach.lastSegment : before.lastSegment).toBe(before.lastSegment);
        }
        const again = decideRetention({ ...facts, backups: stays });
        expect(again.remove).toEqual([]);
        expect([...after.segments].filter((name) => !keepsWal(again, name))).toEqual([]);
        const wholeFulls = backups.filter(({ name, deltaFrom }) => deltaFrom === undefined && usable.has(name)).length;
        const wholeFullsKept = stays.filter(({ name, deltaFrom }) => deltaFrom === undefined && usable.has(name)).length;
        expect(wholeFullsKept).toBeGreaterThanOrEqual(Math.min(wholeFulls, story.keepFull ?? 0));
      }),
      { numRuns: 1000 },
    );
  });

  it('retention by days takes no instant of these days away', async () => {
    await fc.assert(
      fc.asyncProperty(stories, fc.integer({ min: 0, max: 20 }), async (story, daysAgo) => {
        const { backups, holdings, facts } = archiveOf(story);
        fc.pre(daysAgo < story.keepDays);
        const decision = decideRetention(facts);
        const after = { ...holdings, segments: new Set([...holdings.segments].filter((name) => keepsWal(decision, name))) };
        const target = { kind: 'time', time: minute((lastSegment + 2 - daysAgo) * minutesOfDay) } as const;
        const plan = (among: readonly BaseBackup[], where: typeof holdings) =>
          planRecovery({ target, backups: among, wal: where, closedAt: async () => undefined }).then(
            (planned) => planned.backup.name,
            (error: { readonly code: string }) => error.code,
          );
        expect(
          await plan(
            decision.keep.map(({ backup: each }) => each),
            after,
          ),
        ).toBe(await plan(backups, holdings));
      }),
      { numRuns: 500 },
    );
  });

  it('a report fits in an answer of Temporal, however much went', () => {
    const many = <T>(item: T): T[] => Array.from({ length: 5000 }, () => item);
    const name = 'b'.repeat(60);
    const report = boundedPruneReport({
      cluster: 'shop',
      rules: {},
      confirmed: true,
      at: parseInstant('2026-11-22T10:00:00Z'),
      keep: many({ backup: name, reason: 'r'.repeat(120) }),
      remove: many({ backup: name, finishTime: '2026-11-22T10:00:00Z', isDelta: false, objects: 1e6, bytes: 1e15 }),
      leftovers: many({ backup: name, objects: 1e6, bytes: 1e15 }),
      leftoversKept: many({ backup: name, reason: 'r'.repeat(120) }),
      wal: { files: 1, bytes: 1, ranges: many({ timeline: 1, first: segment(1, 1), last: segment(1, 1), count: 1 }) },
      walFrom: null,
      claims: many({ restore: 'x'.repeat(200), backup: name }),
      damaged: many(name),
      objects: 1,
      bytes: 1,
      leftOut: 0,
      reportKey: null,
    });
    expect(JSON.stringify(report).length).toBeLessThan(32 * 1024);
    expect(report.leftOut).toBe(7 * (5000 - 25));
  });
});
