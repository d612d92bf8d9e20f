import { describe, expect, it } from 'vitest';
import { classifyEarlyEnd, type EarlyEndFacts } from '../../src/domain/early-end.ts';
import { commitStampMarginMs } from '../../src/domain/recovery-target.ts';
import { instantOf } from '../../src/domain/instant.ts';
import { positionIn, segment } from './support/archive.ts';

const targetMs = Date.parse('2026-11-22T11:57:00Z');
const afterTarget = (milliseconds: number) => instantOf(new Date(targetMs + milliseconds));

const proven: EarlyEndFacts = {
  target: { kind: 'time', time: afterTarget(0) },
  view: { segments: [{ timeline: 1, first: segment(1, 2), last: segment(1, 7), count: 6 }], histories: [] },
  sourceProof: { how: 'flushed', at: afterTarget(5000), lsn: positionIn(7, 0x100), timeline: 1, segment: segment(1, 7) },
  lastSegmentRestored: segment(1, 7),
};

function proof(changes: Partial<NonNullable<EarlyEndFacts['sourceProof']>>): EarlyEndFacts {
  return { ...proven, sourceProof: { ...proven.sourceProof!, ...changes } };
}

describe('classifyEarlyEnd finds the end complete', () => {
  it('classifyEarlyEnd takes a flush after the target, and says so', () => {
    const verdict = classifyEarlyEnd(proven);
    expect(verdict.kind).toBe('complete');
    expect(verdict).toMatchObject({
      proof: expect.stringMatching(/closed its WAL at 2026-11-22 11:57:05.*0\/7000100 \(000000010000000000000007\)/),
    });
  });

  it('classifyEarlyEnd takes a stop of the source, and says so', () => {
    expect(classifyEarlyEnd(proof({ how: 'stopped' }))).toMatchObject({
      kind: 'complete',
      proof: expect.stringContaining('was stopped at'),
    });
  });

  it('classifyEarlyEnd takes a source that was found dead after the target, whose WAL ends in an unfinished segment', () => {
    const salvaged = proof({ how: 'salvaged', segment: segment(1, 8) });
    const view = { ...proven.view, partial: segment(1, 8) };
    expect(classifyEarlyEnd({ ...salvaged, view, lastSegmentRestored: segment(1, 8) })).toMatchObject({
      kind: 'complete',
      proof: expect.stringContaining('was found dead at'),
    });
    expect(classifyEarlyEnd({ ...salvaged, view, lastSegmentRestored: segment(1, 7) }).kind).toBe('missing');
    expect(classifyEarlyEnd({ ...salvaged, lastSegmentRestored: segment(1, 7) }).kind).toBe('missing');
  });

  it('classifyEarlyEnd takes a flush exactly one margin after the target', () => {
    expect(classifyEarlyEnd(proof({ at: afterTarget(commitStampMarginMs) })).kind).toBe('complete');
  });

  it('classifyEarlyEnd takes a flush into a segment before the last one replayed', () => {
    expect(classifyEarlyEnd(proof({ segment: segment(1, 6) })).kind).toBe('complete');
  });
});

describe('classifyEarlyEnd does not guess', () => {
  it.each<[string, EarlyEndFacts, RegExp]>([
    ['the target is no instant', { ...proven, target: { kind: 'latest' } }, /only a target in time/],
    ['the view is empty', { ...proven, view: { segments: [], histories: [] } }, /archive reaches to nothing/],
    ['nothing was replayed', { ...proven, lastSegmentRestored: undefined }, /as far as no segment/],
    [
      'replay stopped short of the view',
      { ...proven, lastSegmentRestored: segment(1, 6) },
      /0{9}6, but the archive reaches to 0{7}10{15}7/,
    ],
    ['replay went where the view does not', { ...proven, lastSegmentRestored: segment(2, 7) }, /but the archive reaches to/],
    ['the source was not asked', { ...proven, sourceProof: undefined }, /could not be asked/],
    ['the source was flushed at the target', proof({ at: afterTarget(0) }), /not after the target/],
    ['the source was flushed within the margin', proof({ at: afterTarget(commitStampMarginMs - 1) }), /not after the target/],
    ['the source was flushed before the target', proof({ at: afterTarget(-1) }), /not after the target/],
    ['the flush went into a later segment', proof({ segment: segment(1, 8) }), /not part of this restore/],
    [
      'the source was left behind on an older timeline',
      {
        ...proof({ segment: segment(1, 6) }),
        lastSegmentRestored: segment(2, 9),
        view: {
          segments: [
            { timeline: 1, first: segment(1, 2), last: segment(1, 6), count: 5 },
            { timeline: 2, first: segment(2, 7), last: segment(2, 9), count: 3 },
          ],
          histories: ['00000002.history'],
        },
      },
      /not part of this restore/,
    ],
    ['the flush went into another timeline', proof({ timeline: 2, segment: segment(2, 7) }), /not part of this restore/],
  ])('classifyEarlyEnd does not answer complete when %s', (_when, facts, reason) => {
    const verdict = classifyEarlyEnd(facts);
    expect(verdict).toMatchObject({ kind: expect.stringMatching(/^(missing|unknown)$/), reason: expect.stringMatching(reason) });
  });

  it('classifyEarlyEnd answers missing when the source closed its WAL in a segment that is not archived', () => {
    expect(classifyEarlyEnd(proof({ segment: segment(1, 8) }))).toMatchObject({ kind: 'missing' });
  });

  it('classifyEarlyEnd takes the closing of the last segment for proof when the source cannot be asked', () => {
    const facts = { ...proof({}), sourceProof: undefined };
    expect(classifyEarlyEnd({ ...facts, viewClosedAt: afterTarget(5000) })).toMatchObject({ kind: 'complete' });
    expect(classifyEarlyEnd({ ...facts, viewClosedAt: afterTarget(0) })).toMatchObject({ kind: 'unknown' });
  });

  it('classifyEarlyEnd takes a replayed record that is dated after the target for proof, and names it', () => {
    const record = { kind: 'checkpoint', lsn: '0/7000100', time: afterTarget(commitStampMarginMs) } as const;
    const facts = { ...proven, sourceProof: undefined };
    expect(classifyEarlyEnd({ ...facts, laterRecord: record })).toMatchObject({
      kind: 'complete',
      proof: expect.stringMatching(/^The checkpoint at 0\/7000100 is dated 2026-11-22 11:57:01/),
    });
    expect(classifyEarlyEnd({ ...facts, laterRecord: { ...record, time: afterTarget(commitStampMarginMs - 1) } }).kind).toBe('unknown');
    // What the source's flush leaves open, and what a closing time does, a record may decide.
    expect(classifyEarlyEnd({ ...proof({ at: afterTarget(-1) }), viewClosedAt: afterTarget(0), laterRecord: record }).kind).toBe(
      'complete',
    );
    expect(classifyEarlyEnd({ ...facts, lastSegmentRestored: segment(1, 6), laterRecord: record }).kind).toBe('missing');
  });

  it.each([
    [{ kind: 'lsn', lsn: '0/9000000' } as const, /ends before 0\/9000000/],
    [{ kind: 'xid', xid: '734' } as const, /transaction 734 neither/],
    [{ kind: 'name', name: 'x' } as const, /no restore point "x"/],
  ])('classifyEarlyEnd says that the record of %o was not met', (target, reason) => {
    expect(classifyEarlyEnd({ ...proof({}), target })).toMatchObject({ kind: 'unknown', reason: expect.stringMatching(reason) });
  });
});
