/**
 * The table of reasons, walked through with what real servers of every major wrote (test/postgres/recovery-logs/record.ts). A reason without a
 * recorded log is named here, with why it has none.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type LogRecord, summarizeRecovery } from '../../src/domain/recovery-events.ts';
import { describeFatal } from '../../src/domain/recovery-fatal.ts';
import { type RecoveryFatalCode, recoveryFatals } from '../../src/domain/recovery-fatals.ts';
import { parseLog } from '../../src/postgres/server-log.ts';
import { scenarios } from '../postgres/recovery-logs/scenarios.ts';

const majors = [14, 15, 16, 17, 18];
const notRecorded: ReadonlySet<RecoveryFatalCode> = new Set([
  // What nobody knows cannot be provoked.
  'other',
]);

function recordsOf(major: number, name: string): LogRecord[] {
  const folder = fileURLToPath(new URL(`../fixtures/recovery-logs/${major}/`, import.meta.url));
  const forms = [
    ['launch.log', 'stderr'],
    ['jsonlog', 'jsonlog'],
    ['csvlog', 'csvlog'],
  ] as const;
  return forms.flatMap(([extension, format]) => {
    const path = `${folder}${name}.${extension}`;
    return existsSync(path) ? parseLog(readFileSync(path, 'utf8'), format) : [];
  });
}

describe.each(majors)('the log of PostgreSQL %s', (major) => {
  const ofMajor = Object.entries(scenarios).filter(([, { majors: some }]) => some?.includes(major) !== false);
  it.each(ofMajor.map(([name, { code }]) => [name, code] as const))('%s: the reason is %s', (name, code) => {
    const records = recordsOf(major, name);
    expect(records).not.toEqual([]);
    const { fatal } = summarizeRecovery(records);
    expect(fatal?.code).toBe(code);
    expect(fatal === undefined ? '' : describeFatal(fatal)).toContain(recoveryFatals[code].meaning);
  });
});

describe('the table of reasons', () => {
  it('has a recorded log for each reason, of every major on which it can be recorded', () => {
    const recorded = new Set(Object.values(scenarios).map(({ code }) => code));
    const missing = (Object.keys(recoveryFatals) as RecoveryFatalCode[]).filter((code) => !recorded.has(code));
    expect(new Set(missing)).toEqual(notRecorded);
  });

  it('recognizes what PostgreSQL is quoted to say', () => {
    for (const [code, { says }] of Object.entries(recoveryFatals)) {
      if (code === 'other' || code === 'tablespace-bad') continue;
      const message = says.replaceAll('"…"', '"x"').replaceAll('…', '7');
      const severity = code === 'killed' || code === 'crashed' ? 'LOG' : 'FATAL';
      const record = {
        time: undefined,
        pid: 1,
        severity,
        sqlState: undefined,
        message,
        detail: undefined,
        hint: undefined,
        backendType: 'startup',
      };
      expect([code, summarizeRecovery([record]).fatal?.code]).toEqual([code, code]);
    }
  });

  it('never advises what PostgreSQL hints at and what loses data', () => {
    const loses = /pg_resetwal|remove backup_label|ignore_invalid_pages|zero_damaged_pages|postmaster\.pid|touch recovery\.signal/;
    const sentences = Object.values(recoveryFatals).flatMap(({ next }) => next.split(/(?<=[.;:]) /));
    const warnings = sentences.filter((sentence) => loses.test(sentence));
    expect(warnings.length).toBeGreaterThan(4);
    expect(warnings.filter((sentence) => !/^(?:Do not|Never)/.test(sentence))).toEqual([]);
  });
});
