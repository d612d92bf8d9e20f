/**
 * Every kind of target on every PostgreSQL major of this machine, to the row; and the table of it in docs/recovery-targets.md, which is made here:
 * WALKBACK_UPDATE_DOCS=1 writes it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { parseInstant } from '../../../src/domain/instant.ts';
import { whyLandedWrong } from '../../../src/domain/landing-proof.ts';
import type { RecoveryTarget } from '../../../src/domain/recovery-target.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { createRestorePoint } from '../../../src/postgres/restore-point.ts';
import { availableInstallations } from '../../harness/postgres.ts';
import { createPitrScene, type PitrScene } from './pitr-scene.ts';

const page = fileURLToPath(new URL('../../../docs/recovery-targets.md', import.meta.url));
const installations = await availableInstallations();
const outcomes = new Map<string, Map<number, string>>();

/** What the source did: the rows first, second and third, each in a transaction of its own. */
interface Marks {
  /** Exactly when the second row was committed. */
  readonly secondTime: string;
  readonly secondXid: string;
  /** Where the record of its commit begins. */
  readonly secondCommitLsn: string;
}

const cases: readonly { readonly name: string; readonly target: (marks: Marks) => RecoveryTarget; readonly rows: string }[] = [
  { name: 'time, inclusive', target: ({ secondTime }) => timeTarget(secondTime), rows: 'first, second' },
  { name: 'time, exclusive', target: ({ secondTime }) => ({ ...timeTarget(secondTime), inclusive: false }), rows: 'first' },
  { name: 'xid, inclusive', target: ({ secondXid: xid }) => ({ kind: 'xid', xid }), rows: 'first, second' },
  { name: 'xid, exclusive', target: ({ secondXid: xid }) => ({ kind: 'xid', xid, inclusive: false }), rows: 'first' },
  { name: 'lsn, inclusive', target: ({ secondCommitLsn: lsn }) => ({ kind: 'lsn', lsn }), rows: 'first, second' },
  { name: 'lsn, exclusive', target: ({ secondCommitLsn: lsn }) => ({ kind: 'lsn', lsn, inclusive: false }), rows: 'first' },
  { name: 'name', target: () => ({ kind: 'name', name: "it's \\ the second" }), rows: 'first, second' },
  { name: 'immediate', target: () => ({ kind: 'immediate' }), rows: '' },
  { name: 'latest', target: () => ({ kind: 'latest' }), rows: 'first, second, third' },
];

describe.each(installations)('recovery targets on PostgreSQL $version', (installation) => {
  it('A1: land on the row, inclusive and exclusive, and the log says where', async () => {
    await using scene = await createPitrScene(installation, { track_commit_timestamp: 'on', autovacuum: 'off' });
    const marks = await tellStory(scene);
    const landings = await Promise.all(cases.map(async ({ name, target }) => ({ name, rows: await rowsAt(scene, target(marks)) })));
    for (const { name, rows } of landings) {
      outcomes.set(name, (outcomes.get(name) ?? new Map<number, string>()).set(installation.major, rows));
    }
    expect(landings).toEqual(cases.map(({ name, rows }) => ({ name, rows })));
  });
});

afterAll(() => {
  const text = readFileSync(page, 'utf8');
  const majors = installations.map(({ major }) => major);
  const made = tableOf(majors);
  if (process.env['WALKBACK_UPDATE_DOCS'] === '1') writeFileSync(page, text.replace(/\n\| target[\s\S]*$/, `\n${made}`));
  // A machine with fewer majors checks the columns that it has.
  else if (majors.length === 5) expect(text.slice(text.indexOf('| target'))).toBe(made);
});

function tableOf(majors: readonly number[]): string {
  const rows = cases.map(({ name }) => [name, ...majors.map((major) => outcomes.get(name)?.get(major) || 'none')]);
  const lines = [['target', ...majors.map((major) => `PostgreSQL ${major}`)], ['---', ...majors.map(() => '---')], ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

function timeTarget(text: string): RecoveryTarget & { kind: 'time' } {
  return { kind: 'time', time: parseInstant(text) };
}

async function tellStory(scene: PitrScene): Promise<Marks> {
  await using connection = await connectServer(scene.source.connectOptions);
  await connection.query(`INSERT INTO t VALUES ('first')`);
  await connection.query('BEGIN');
  await connection.query(`INSERT INTO t VALUES ('second')`);
  const [second] = await connection.query<{ xid: string; lsn: string }>(
    `SELECT pg_current_xact_id()::text AS xid, pg_current_wal_insert_lsn()::text AS lsn`,
  );
  await connection.query('COMMIT');
  const time = await connection.queryFirstValue(
    `SELECT to_char(pg_xact_commit_timestamp('${second!.xid}'::xid) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
  );
  await createRestorePoint(connection, "it's \\ the second");
  await connection.query(`INSERT INTO t VALUES ('third')`);
  await scene.flush();
  return { secondTime: time ?? '', secondXid: second!.xid, secondCommitLsn: second!.lsn };
}

/** The rows after the base backup. */
async function rowsAt(scene: PitrScene, target: RecoveryTarget): Promise<string> {
  await using copy = await scene.restore();
  await copy.configure({ target });
  await copy.start();
  const { complete, stop, lastCompletedTransactionTime } = await copy.outcome();
  expect(complete).toBe(true);
  expect(whyLandedWrong(target, { stop, lastCommitKept: lastCompletedTransactionTime })).toBeUndefined();
  return (await copy.rows()).filter((row) => row !== 'before backup').join(', ');
}
