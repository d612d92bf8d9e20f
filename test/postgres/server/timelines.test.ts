/**
 * A restore of a restore of a restore, all of which archive into one place as other tools let them: four timelines, and targets before and behind each
 * fork. What is planned is what PostgreSQL gets, and the rows tell where it landed. Twice, a segment lies on two timelines with different ends.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { BaseBackup } from '../../../src/domain/base-backup.ts';
import { type Instant, instantOf, parseInstant } from '../../../src/domain/instant.ts';
import { planRecovery, type WalHoldings } from '../../../src/domain/recovery-plan.ts';
import { segmentOfView } from '../../../src/domain/plan-outline.ts';
import { segmentCountOf } from '../../../src/domain/recovery-plan.ts';
import type { RecoveryTarget, TargetTimeline } from '../../../src/domain/recovery-target.ts';
import { connectServer, type ConnectOptions } from '../../../src/postgres/connection.ts';
import type { PostgresInstallation } from '../../../src/postgres/installations.ts';
import { availableInstallations } from '../../harness/postgres.ts';
import { createPitrScene, type PitrScene, type RestoredCopy, until } from './pitr-scene.ts';

const installations = await availableInstallations();
const segmentBytes = 16 * 1024 * 1024;
/** The rows of a branch are its name with a number. */
const atBackup = 'before backup';

/** What a server did after its fork: a row, an instant between, another row that later restores leave behind. */
interface Branch {
  readonly between: Instant;
  /** Before the row that is left behind. */
  readonly lsn: string;
}

it.each([installations[0], installations.at(-1)].filter((found) => found !== undefined))(
  'A15: restores over four timelines land right before and behind each fork on PostgreSQL $version',
  async (installation) => {
    await using stack = new AsyncDisposableStack();
    const scene = stack.use(await createPitrScene(installation));
    const backup = backupOf(scene, installation);
    const first = await live(scene, scene.source.connectOptions, 'a');
    const branches = [first];
    // Each child leaves its parent between its two rows, in the middle of a segment that the parent has archived whole.
    for (const name of ['b', 'c']) {
      const child = stack.use(await restored(scene, backup, { kind: 'time', time: branches.at(-1)?.between ?? first.between }, 'latest'));
      await archiveToo(scene, child);
      branches.push(await live(scene, child.connectOptions, name));
    }
    const [a, b, c] = branches as [Branch, Branch, Branch];
    const archived = readdirSync(scene.archive);
    const inTwo = archived.filter((name) => /^[0-9A-F]{24}$/.test(name) && archived.includes(`00000002${name.slice(8)}`));
    expect(inTwo.filter((name) => name.startsWith('00000001'))).not.toEqual([]);
    const at = (time: Instant): RecoveryTarget => ({ kind: 'time', time });
    const cases: readonly (readonly [target: RecoveryTarget, timeline: TargetTimeline, rows: readonly string[]])[] = [
      [at(a.between), 'latest', ['a1']],
      [at(a.between), 1, ['a1']],
      [{ kind: 'latest' }, 1, ['a1', 'a2']],
      [{ kind: 'latest' }, 'current', ['a1', 'a2']],
      [at(b.between), 'latest', ['a1', 'b1']],
      [at(b.between), 2, ['a1', 'b1']],
      [{ kind: 'latest' }, 2, ['a1', 'b1', 'b2']],
      [at(c.between), 'latest', ['a1', 'b1', 'c1']],
      [{ kind: 'latest' }, 'latest', ['a1', 'b1', 'c1', 'c2']],
      // Positions before a fork mean the same on both of its sides; behind it, each side has its own record there.
      [{ kind: 'lsn', lsn: a.lsn, inclusive: false }, 3, ['a1']],
      [{ kind: 'lsn', lsn: b.lsn, inclusive: false }, 2, ['a1', 'b1']],
      [{ kind: 'lsn', lsn: b.lsn, inclusive: false }, 3, ['a1', 'b1']],
    ];
    for (const [target, timeline, rows] of cases) {
      await using copy = await restored(scene, backup, target, timeline);
      expect([target, timeline, await copy.rows()]).toEqual([target, timeline, [...rows, atBackup].toSorted()]);
    }
  },
);

/** Two rows, each committed and closed off from the other by an instant and a position. */
async function live(scene: PitrScene, server: ConnectOptions, name: string): Promise<Branch> {
  await using connection = await connectServer(server);
  await connection.query(`INSERT INTO t VALUES ('${name}1')`);
  await delay(20);
  const [row] = await connection.query<{ now: string; lsn: string }>(
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now, pg_current_wal_insert_lsn()::text AS lsn`,
  );
  await delay(20);
  await connection.query(`INSERT INTO t VALUES ('${name}2')`);
  const [closed] = await connection.query<{ name: string }>('SELECT pg_walfile_name(pg_switch_wal()) AS name');
  await until(async () => readdirSync(scene.archive).includes(closed?.name ?? ''));
  return { between: parseInstant(row?.now ?? ''), lsn: row?.lsn ?? '' };
}

/** As a tool does that gives a restored cluster its source's archive. */
async function archiveToo(scene: PitrScene, child: RestoredCopy): Promise<void> {
  await using connection = await connectServer(child.connectOptions);
  await connection.query(`ALTER SYSTEM SET archive_command = 'test ! -f ${scene.archive}/%f && cp %p ${scene.archive}/%f'`);
  await connection.query('SELECT pg_reload_conf()');
}

/** Plans from what is archived, gives PostgreSQL that and nothing else, and waits until it has landed. */
async function restored(scene: PitrScene, backup: BaseBackup, target: RecoveryTarget, timeline: TargetTimeline): Promise<RestoredCopy> {
  const closedAt = async (segment: string) => instantOf(statSync(join(scene.archive, segment)).mtime);
  const plan = await planRecovery({ target, timeline, backups: [backup], wal: holdingsOf(scene.archive), closedAt });
  const segments = Array.from({ length: segmentCountOf(plan.view) }, (_, index) => segmentOfView(plan, index));
  const copy = await scene.restore();
  const list = join(copy.dataDirectory, '..', 'view');
  writeFileSync(list, [...segments, ...plan.view.histories, ''].join('\n'));
  await copy.configure({ target, timeline, restoreCommand: `grep -qx %f "${list}" && cp "${scene.archive}/%f" "%p"` });
  await copy.start();
  const { complete, fatal } = await copy.outcome();
  expect([target, timeline, complete, fatal]).toEqual([target, timeline, true, undefined]);
  return copy;
}

function holdingsOf(archive: string): WalHoldings {
  const names = readdirSync(archive);
  const histories = names.filter((name) => name.endsWith('.history'));
  return {
    segments: new Set(names.filter((name) => /^[0-9A-F]{24}$/.test(name))),
    histories: new Map(histories.map((name) => [Number.parseInt(name, 16), readFileSync(join(archive, name), 'utf8')])),
    segmentBytes,
  };
}

/** The scene's base backup, by its label. */
function backupOf(scene: PitrScene, installation: PostgresInstallation): BaseBackup {
  const label = readFileSync(join(scene.archive, '..', 'backup', 'backup_label'), 'utf8');
  const [, startLsn = '', startSegment = ''] = /START WAL LOCATION: (\S+) \(file (\S+)\)/.exec(label) ?? [];
  return {
    name: `base_${startSegment}`,
    timeline: 1,
    startLsn,
    finishLsn: undefined,
    startTime: '2026-01-01T00:00:00Z',
    finishTime: '2026-01-01T00:00:00Z',
    pgVersion: installation.major * 10_000,
    systemIdentifier: undefined,
    hostname: 'here',
    dataDirectory: '/srv/source',
    uncompressedBytes: 0,
    compressedBytes: 0,
    isPermanent: false,
    deltaFrom: undefined,
    startSegment: startSegment as BaseBackup['startSegment'],
  };
}
