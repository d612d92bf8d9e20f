import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WalkbackError } from '../../src/domain/errors.ts';
import { parseLsn } from '../../src/domain/lsn.ts';
import { type PlanOptions, planRecovery, type RecoveryPlan, type WalRange } from '../../src/domain/recovery-plan.ts';
import { parseWalSegmentName, segmentNumberAt } from '../../src/domain/wal-segment.ts';
import { backup, fork, minute, segment, segments, toMinute, wal } from './support/archive.ts';

const timelinesMaximum = 3;
const segmentsMaximum = 14;
const minutesMaximum = 60;

/** An archive of up to three timelines, with holes anywhere, backups anywhere, and any target. */
const archives = fc.record({
  forkSegments: fc.array(fc.integer({ min: 2, max: segmentsMaximum }), { maxLength: timelinesMaximum - 1 }),
  forksOnBoundary: fc.boolean(),
  missing: fc.uniqueArray(fc.integer({ min: 0, max: timelinesMaximum * segmentsMaximum }), { maxLength: 6 }),
  backups: fc.uniqueArray(
    fc.record({
      timeline: fc.integer({ min: 1, max: timelinesMaximum }),
      startSegment: fc.integer({ min: 1, max: segmentsMaximum }),
      lengthSegments: fc.integer({ min: 0, max: 3 }),
      finishMinute: fc.integer({ min: 1, max: minutesMaximum }),
    }),
    { minLength: 1, maxLength: 5, selector: (one) => one.startSegment + one.lengthSegments },
  ),
  targetMinute: fc.integer({ min: 0, max: minutesMaximum }),
  closedMinutes: fc.array(fc.option(fc.integer({ min: 0, max: minutesMaximum }), { nil: undefined }), { maxLength: segmentsMaximum }),
});

type ArchiveStory = typeof archives extends fc.Arbitrary<infer Story> ? Story : never;

describe('planRecovery', () => {
  it('planRecovery never decides on a plan that PostgreSQL could not replay to the target', async () => {
    await fc.assert(
      fc.asyncProperty(archives, async (story) => {
        const plan = await planOrRefusal(optionsOf(story));
        if (plan !== undefined) assertSound(plan, story);
      }),
      { numRuns: 2000 },
    );
  });

  it('planRecovery gives the same plan whatever order backups and segments are listed in', async () => {
    await fc.assert(
      fc.asyncProperty(archives, async (story) => {
        const options = optionsOf(story);
        const { wal: holdings } = options;
        const turned = {
          ...options,
          backups: options.backups.toReversed(),
          wal: { ...holdings, segments: new Set([...holdings.segments].toReversed()) },
        };
        const [plan, other] = [await planOrRefusal(options), await planOrRefusal(turned)];
        expect(other?.view).toEqual(plan?.view);
        expect(other?.backup.finishLsn).toBe(plan?.backup.finishLsn);
      }),
    );
  });

  it('planRecovery still finds a plan when segments before the backup are gone', async () => {
    await fc.assert(
      fc.asyncProperty(archives, async (story) => {
        const options = optionsOf(story);
        const plan = await planOrRefusal(options);
        if (plan === undefined) return;
        const { number: start } = parseWalSegmentName(plan.backup.startSegment);
        const kept = [...options.wal.segments].filter((name) => parseWalSegmentName(name).number >= start);
        const after = await planOrRefusal({ ...options, wal: { ...options.wal, segments: new Set(kept) } });
        expect(after?.view).toEqual(plan.view);
      }),
    );
  });
});

function optionsOf(story: ArchiveStory): PlanOptions {
  const forkSegments = story.forkSegments.toSorted((a, b) => a - b);
  const offsetBytes = story.forksOnBoundary ? 0 : 0x4000;
  const lines = forkSegments.map((number, index) => fork(index + 1, number, offsetBytes + index));
  const histories = Object.fromEntries(lines.map((_, index) => [index + 2, lines.slice(0, index + 1).join('')]));
  const names = Array.from({ length: forkSegments.length + 1 }, (_, index) =>
    segments(index + 1, forkSegments[index - 1] ?? 1, segmentsMaximum),
  );
  const missing = new Set(story.missing.map((place) => segment(1 + Math.floor(place / segmentsMaximum), 1 + (place % segmentsMaximum))));
  const closed = story.closedMinutes.flatMap((closedMinute, index) =>
    closedMinute === undefined ? [] : [1, 2, 3].map((timeline) => [segment(timeline, index + 1), closedMinute] as const),
  );
  return toMinute(story.targetMinute, {
    backups: story.backups.map(({ lengthSegments, ...rest }) => backup({ ...rest, finishSegment: rest.startSegment + lengthSegments })),
    wal: wal(
      names.flat().filter((name) => !missing.has(name)),
      histories,
    ),
    closedAtMinutes: Object.fromEntries(closed),
  });
}

const refusals: ReadonlySet<string> = new Set(['NO_BACKUP', 'NO_BACKUP_BEFORE_TARGET', 'WAL_MISSING']);

/** Undefined when the planner refuses; any other error is a fault of the planner. */
async function planOrRefusal(options: PlanOptions): Promise<RecoveryPlan | undefined> {
  try {
    return await planRecovery(options);
  } catch (error) {
    if (error instanceof WalkbackError && refusals.has(error.code)) return undefined;
    throw error;
  }
}

function assertSound(plan: RecoveryPlan, story: ArchiveStory): void {
  const forkSegments = story.forkSegments.toSorted((a, b) => a - b);
  const archived = optionsOf(story).wal.segments;
  const replayed = plan.view.segments.flatMap(segmentsOf);

  expect(plan.backup.finishTime < minute(story.targetMinute)).toBe(true);
  expect(finishesOnItsTimeline(plan, story, forkSegments)).toBe(true);
  expect(replayed.filter((name) => !archived.has(name))).toEqual([]);
  const start = Number(parseWalSegmentName(plan.backup.startSegment).number);
  expect(replayed).toEqual(replayed.map((_, index) => segment(timelineRead(start + index, forkSegments), start + index)));
  expect(plan.view.histories).toEqual(forkSegments.map((_, index) => `0000000${index + 2}.history`));
}

/** Names of a range, from first, last and count independently of each other. */
function segmentsOf(range: WalRange): string[] {
  const [first, last] = [parseWalSegmentName(range.first), parseWalSegmentName(range.last)];
  expect([first.timeline, last.timeline, last.number - first.number + 1n]).toEqual([range.timeline, range.timeline, BigInt(range.count)]);
  return segments(range.timeline, Number(first.number), Number(last.number));
}

/** PostgreSQL reads a segment on the newest timeline that began in it or before it (xlogrecovery.c, XLogFileReadAnyTLI). */
function timelineRead(number: number, forkSegments: readonly number[]): number {
  return 1 + forkSegments.filter((forkSegment) => forkSegment <= number).length;
}

function finishesOnItsTimeline(plan: RecoveryPlan, story: ArchiveStory, forkSegments: readonly number[]): boolean {
  const end = forkSegments[plan.backup.timeline - 1];
  const finish = Number(segmentNumberAt(parseLsn(plan.backup.finishLsn!)));
  return end === undefined || finish < end || (finish === end && !story.forksOnBoundary);
}
