import { describe, expect, it } from 'vitest';
import { boundedFindings, renderFinding, type RestoredFinding } from '../../src/domain/restored-findings.ts';

const finding: RestoredFinding = { kind: 'unlogged-table', database: 'shop', text: 'scratch is unlogged' };

describe('findings about a restored cluster', () => {
  it('boundedFindings keeps a report small, and says how many it leaves out', () => {
    const many = Array.from({ length: 250 }, () => ({ ...finding, text: 'x'.repeat(1000) }));
    const { findings, leftOut } = boundedFindings(many);
    expect([findings.length, leftOut]).toEqual([100, 150]);
    expect(JSON.stringify(findings).length).toBeLessThan(48 * 1024);
    expect(boundedFindings([finding])).toEqual({ findings: [finding], leftOut: 0 });
  });

  it('renderFinding names kind and database', () => {
    expect(renderFinding(finding)).toBe('unlogged-table in shop: scratch is unlogged');
    expect(renderFinding({ ...finding, database: null })).toBe('unlogged-table: scratch is unlogged');
  });
});
