import { describe, expect, it } from 'vitest';
import type { Landing } from '../../src/activities/types.ts';
import type { SourceProof } from '../../src/domain/early-end.ts';
import { emptyRecoverySummary, type RecoverySummary } from '../../src/domain/recovery-events.ts';
import type { RecoveryTarget } from '../../src/domain/recovery-target.ts';
import { completeRestoreRequest } from '../../src/domain/restore-request.ts';
import { type EarlyEnd, landed } from '../../src/workflows/recovered.ts';
import type { Goal } from '../../src/workflows/recover-to-target.ts';
import { backup, minute, positionIn, segment } from '../domain/support/archive.ts';

const toMinute = (count: number): RecoveryTarget => ({ kind: 'time', time: minute(count) });

/** A restore from a base backup of minute 1, whose WAL reaches to segment 7. */
function goalOf(target: RecoveryTarget, sourceProof?: SourceProof): Goal {
  const place = { archiveUrl: 'file:///a', childArchiveUrl: 'file:///b', adminRole: 'postgres', database: 'postgres' };
  return {
    sourceProof,
    job: {
      restoreId: 'restore/h/d',
      runId: 'run',
      cluster: 'shop',
      name: 'shop-2',
      dataDirectory: '/d',
      port: 5433,
      ...place,
      target,
      timeline: 'latest',
      atTarget: 'promote',
      plan: {
        backup: backup({ startSegment: 2, finishMinute: 1 }),
        timeline: 1,
        view: { segments: [{ timeline: 1, first: segment(1, 2), last: segment(1, 7), count: 6 }], histories: [] },
        walSegmentBytes: 16 * 1024 * 1024,
        holeAfterView: undefined,
      },
    },
  };
}

/** Stopped before a commit of minute 20, behind one of minute 9, on a new timeline. */
function landingOf(summary: Partial<RecoverySummary> = {}, more: Partial<Landing> = {}): Landing {
  const stop = { kind: 'before', record: 'commit', xid: '734', time: minute(20) } as const;
  return {
    summary: { ...emptyRecoverySummary, stop, lastCompletedTransactionTime: minute(9), ...summary },
    timeline: 2,
    lastSegmentRestored: segment(1, 7),
    logLines: [],
    ...more,
  };
}

function land(goal: Goal, landing: Landing, earlyEnd?: EarlyEnd) {
  const place = { host: 'h', dataDirectory: '/d', port: 5433 };
  const request = completeRestoreRequest({ cluster: 'shop', name: 'shop-2', target: goal.job.target, ...place }, new Date());
  return landed(request, goal, landing, earlyEnd);
}

const completeEnd: EarlyEnd = { verdict: { kind: 'complete', proof: 'It was flushed.' }, landing: landingOf({ stop: undefined }) };
const salvaged: SourceProof = {
  how: 'salvaged',
  at: minute(30),
  lsn: positionIn(7, 0x100),
  timeline: 1,
  segment: segment(1, 7),
  salvage: { segments: 1, partial: null, lastCommit: { time: minute(25), xid: '740' } },
};

describe('landed', () => {
  it('landed describes a landing that is the one asked for', () => {
    expect(land(goalOf(toMinute(10)), landingOf())).toMatchObject({
      endReason: 'target-reached',
      lastCommitKept: { time: minute(9) },
      firstCommitLeftOut: { time: minute(20), xid: '734' },
      timeline: 2,
    });
    expect(land(goalOf(toMinute(10)), landingOf({ stop: undefined }), completeEnd)).toMatchObject({
      endReason: 'ended-early-proven-complete',
    });
  });

  it.each<[string, Goal, Landing, EarlyEnd | undefined, RegExp]>([
    ['a commit after the target was kept', goalOf(toMinute(8)), landingOf(), undefined, /a commit of .*10:09:00.* was kept/],
    ['a commit after the dropped target was kept', goalOf(toMinute(8)), landingOf({ stop: undefined }), completeEnd, /was kept/],
    ['the log names no place at which replay stopped', goalOf(toMinute(10)), landingOf({ stop: undefined }), undefined, /names no place/],
    [
      'replay stopped at another transaction',
      goalOf({ kind: 'xid', xid: '735' }),
      landingOf(),
      undefined,
      /stopped before the commit of transaction 734/,
    ],
    [
      'the server is on the timeline of its source',
      goalOf(toMinute(10)),
      landingOf({}, { timeline: 1 }),
      undefined,
      /timeline 1, which is not a new one/,
    ],
    [
      'replay did not reach the end of the WAL that was to be replayed whole',
      goalOf({ kind: 'latest' }),
      landingOf({ stop: undefined }, { lastSegmentRestored: segment(1, 6) }),
      undefined,
      /replay ended after 0{7}10{15}6, but the archive reaches to 0{7}10{15}7/,
    ],
    [
      'a commit that was salvaged was not replayed',
      goalOf({ kind: 'latest' }, salvaged),
      landingOf({ stop: undefined }),
      undefined,
      /the commit of .*10:25:00.* was salvaged and not replayed/,
    ],
  ])('landed fails with LANDED_WRONG when %s', (_when, goal, landing, earlyEnd, why) => {
    expect(() => land(goal, landing, earlyEnd)).toThrow(
      expect.objectContaining({ code: 'LANDED_WRONG', message: expect.stringMatching(why) as string }),
    );
  });
});
