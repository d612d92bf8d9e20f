import { describe, expect, it } from 'vitest';
import { type LogRecord, recoveryEventOf, summarizeRecovery } from '../../src/domain/recovery-events.ts';

function record(message: string, more: Partial<LogRecord> = {}): LogRecord {
  return {
    time: undefined,
    pid: 1,
    severity: 'LOG',
    sqlState: '00000',
    message,
    detail: undefined,
    hint: undefined,
    backendType: 'startup',
    ...more,
  };
}

function fatal(message: string, more: Partial<LogRecord> = {}): LogRecord {
  return record(message, { severity: 'FATAL', ...more });
}

describe('recoveryEventOf', () => {
  it.each([
    [
      'recovery stopping before commit of transaction 735, time 2026-11-23 07:14:24.659547+00',
      { kind: 'before', record: 'commit', xid: '735', time: '2026-11-23T07:14:24.659547Z' },
    ],
    [
      'recovery stopping after commit of transaction 4294967295, time 2026-11-23 08:14:24+01',
      { kind: 'after', record: 'commit', xid: '4294967295', time: '2026-11-23T07:14:24.000000Z' },
    ],
    [
      'recovery stopping before abort of transaction 9, time 2026-11-23 07:14:24.6+05:30',
      { kind: 'before', record: 'abort', xid: '9', time: '2026-11-23T01:44:24.600000Z' },
    ],
    [
      'recovery stopping at restore point "a "quoted" one", time 2026-11-23 07:14:24+00',
      { kind: 'restore-point', name: 'a "quoted" one', time: '2026-11-23T07:14:24.000000Z' },
    ],
    ['recovery stopping after WAL location (LSN) "0/3000028"', { kind: 'after-lsn', lsn: '0/3000028' }],
    ['recovery stopping before WAL location (LSN) "1A/3000028"', { kind: 'before-lsn', lsn: '1A/3000028' }],
    ['recovery stopping after reaching consistency', { kind: 'consistency' }],
  ])('recoveryEventOf tells the stop when the log says "%s"', (message, stop) => {
    expect(recoveryEventOf(record(message))).toEqual({ kind: 'stopping', stop });
  });

  it.each([
    ['recovery ended before configured recovery target was reached', 'ended-before-target'],
    ['could not restore file "000000010000000000000003" from archive: child process exited with exit code 130', 'restore-command-failed'],
    [
      'could not restore file "000000010000000000000003" from archive: child process was terminated by signal 6: Aborted',
      'restore-command-failed',
    ],
    ['could not locate required checkpoint record', 'checkpoint-record-missing'],
    ['could not locate required checkpoint record at 0/3000028', 'checkpoint-record-missing'],
    ['could not find redo location referenced by checkpoint record', 'redo-location-missing'],
    ['could not find redo location 0/3000028 referenced by checkpoint record at 0/3000060', 'redo-location-missing'],
    ['requested recovery stop point is before consistent recovery point', 'target-before-consistency'],
    ['WAL ends before end of online backup', 'wal-ends-before-consistency'],
    ['WAL ends before consistent recovery point', 'wal-ends-before-consistency'],
    ["requested timeline 3 is not a child of this server's history", 'wrong-timeline'],
    ['WAL was generated with wal_level=minimal, cannot continue recovering', 'wal-level-minimal'],
    ['WAL was generated with "wal_level=minimal", cannot continue recovering', 'wal-level-minimal'],
    ['database files are incompatible with server', 'incompatible-major'],
    ['could not access file "timescaledb": No such file or directory', 'library-missing'],
    ['something never seen', 'other'],
  ])('recoveryEventOf names the reason when the server gives up with "%s"', (message, code) => {
    expect(recoveryEventOf(fatal(message))).toMatchObject({ kind: 'fatal', fatal: { code } });
  });

  it('recoveryEventOf says disk-full when the state is 53100, whatever the words', () => {
    expect(recoveryEventOf(fatal('could not write to file "x": No space left on device', { sqlState: '53100' }))).toMatchObject({
      fatal: { code: 'disk-full' },
    });
  });

  it('recoveryEventOf ignores a FATAL when it only concerns a client', () => {
    expect(
      recoveryEventOf(fatal('the database system is starting up', { sqlState: '57P03', backendType: 'client backend' })),
    ).toBeUndefined();
    expect(recoveryEventOf(fatal('role "x" does not exist', { sqlState: '28000', backendType: undefined }))).toBeUndefined();
  });

  it('recoveryEventOf takes PANIC of any process for the reason when it occurs', () => {
    expect(recoveryEventOf(record('could not write to file', { severity: 'PANIC', backendType: 'checkpointer' }))).toMatchObject({
      kind: 'fatal',
    });
  });

  it('recoveryEventOf gives both values when a setting is too low and replay pauses', () => {
    const warning = record('hot standby is not possible because of insufficient parameter settings', {
      severity: 'WARNING',
      detail: 'max_connections = 10 is a lower setting than on the primary server, where its value was 100.',
    });
    expect(recoveryEventOf(warning)).toEqual({
      kind: 'insufficient-setting',
      setting: { name: 'max_connections', value: 10, needed: 100 },
    });
  });

  it('recoveryEventOf is silent when the message means nothing for recovery', () => {
    expect(recoveryEventOf(record('checkpoint starting: end-of-recovery immediate wait'))).toBeUndefined();
  });
});

describe('summarizeRecovery', () => {
  const landing = [
    record('starting point-in-time recovery to 2026-11-23 07:14:24+00'),
    record('restored log file "000000010000000000000002" from archive'),
    record('redo starts at 0/2000028'),
    record('consistent recovery state reached at 0/2000138'),
    record('restored log file "000000010000000000000003" from archive'),
    record('recovery stopping before commit of transaction 740, time 2026-11-23 07:14:25.5+00'),
    record('redo done at 0/3000110 system usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.04 s'),
    record('last completed transaction was at log time 2026-11-23 07:14:23.25+00'),
    record('restored log file "000000010000000000000003" from archive'),
    record('selected new timeline ID: 2'),
    record('archive recovery complete'),
    record('database system is ready to accept connections', { backendType: 'postmaster' }),
  ];

  it('summarizeRecovery tells the landing when the target was reached', () => {
    expect(summarizeRecovery(landing)).toEqual({
      redoStartLsn: '0/2000028',
      consistentAt: '0/2000138',
      stop: { kind: 'before', record: 'commit', xid: '740', time: '2026-11-23T07:14:25.500000Z' },
      lastCompletedTransactionTime: '2026-11-23T07:14:23.250000Z',
      endLsn: '0/3000110',
      newTimeline: 2,
      paused: false,
      insufficientSetting: undefined,
      complete: true,
      ready: true,
      fatal: undefined,
      endedBeforeTarget: false,
      segmentsRestored: 2,
      lastSegmentRestored: '000000010000000000000003',
    });
  });

  it('summarizeRecovery gives the same when the log comes in pieces', () => {
    for (let cut = 0; cut <= landing.length; cut += 1) {
      expect(summarizeRecovery(landing.slice(cut), summarizeRecovery(landing.slice(0, cut)))).toEqual(summarizeRecovery(landing));
    }
  });

  it('summarizeRecovery begins anew when an earlier try to start had failed', () => {
    const leftovers = fatal('pre-existing shared memory block (key 1, ID 2) is still in use', { backendType: undefined });
    expect(summarizeRecovery([leftovers]).fatal).toMatchObject({ code: 'already-running' });
    const started = record('starting PostgreSQL 17.6 on x86_64-pc-linux-gnu, compiled by gcc, 64-bit', { backendType: 'postmaster' });
    expect(summarizeRecovery([leftovers, started, ...landing])).toEqual(summarizeRecovery(landing));
  });

  it('summarizeRecovery keeps the first FATAL when others follow from it', () => {
    const summary = summarizeRecovery([
      record('last completed transaction was at log time 2026-11-23 07:14:23.25+00'),
      fatal('recovery ended before configured recovery target was reached'),
      fatal('something never seen', { backendType: 'postmaster' }),
    ]);
    expect(summary).toMatchObject({ endedBeforeTarget: true, fatal: { code: 'ended-before-target' } });
  });
});
