/** Activities that look into data: of a restored cluster before clients come, and of a source whose row counts are to be remembered. */
import { putRowBaseline } from '../archive/row-baselines.ts';
import { verifyPages } from '../archive/verify-pages.ts';
import type { CheckReport } from '../domain/landing-report.ts';
import { boundedFindings, type RestoredFindings } from '../domain/restored-findings.ts';
import type { CompleteRestoreRequest, DataCheck } from '../domain/restore-request.ts';
import { compareRows, type RowBaseline } from '../domain/row-baseline.ts';
import { runAmcheck } from '../postgres/amcheck.ts';
import { configurationFindings } from '../postgres/configuration-findings.ts';
import { type ConnectOptions, connectServer } from '../postgres/connection.ts';
import { readControlData } from '../postgres/control-data.ts';
import { takeInventory } from '../postgres/inventory.ts';
import { countRows } from '../postgres/row-counts.ts';
import { readServerFacts } from '../postgres/server-facts.ts';
import { type ActivityStep, runActivity } from './activity.ts';
import type { HostDependencies } from './dependencies.ts';
import type { ExaminationActivities } from './examination-types.ts';
import { adminAccess } from './landing-activities.ts';
import { keepServerUp } from './private-server.ts';
import { baselineOf } from './restore-baseline.ts';
import { roomFor } from './room.ts';
import { installationOf, socketDirectoryOf } from './restore-activities.ts';
import type { RestoreJob } from './types.ts';

const statementTimeoutMs = 6 * 60 * 60_000;
/** A check compares one value, not a document. */
const checkValueMaximumLength = 4096;

/** Makes the part of the host activities that examines data. */
export function createExaminationActivities(dependencies: HostDependencies): ExaminationActivities {
  return {
    takeInventory: (input) =>
      runActivity((step) =>
        dependencies.leases.run(input.job.dataDirectory, step, (signal) =>
          roomFor(input.job, { ...step, signal }, () => inventoryOf(dependencies, input, signal)),
        ),
      ),
    runChecks: (input) =>
      runActivity((step) =>
        dependencies.leases.run(input.job.dataDirectory, step, (signal) => runChecks(dependencies, input, { ...step, signal })),
      ),
    recordBaseline: ({ cluster, archiveUrl }) =>
      runActivity(async ({ signal }) => {
        const { server } = dependencies.clusterOf(cluster);
        const baseline = await takeBaseline({ ...server, signal, statementTimeoutMs });
        const key = await putRowBaseline(dependencies.openStore(archiveUrl), baseline, signal);
        const { takenAt, database, tables, leftOut } = baseline;
        return { key, takenAt, database, tables: tables.length, rows: tables.reduce((sum, { rows }) => sum + rows, 0), leftOut };
      }),
  };
}

interface Examined {
  readonly job: RestoreJob;
  readonly request: CompleteRestoreRequest;
}

async function serverOf(dependencies: HostDependencies, { job, request }: Examined): Promise<ConnectOptions> {
  const access = await adminAccess(dependencies, job, request);
  return { host: socketDirectoryOf(dependencies, job), port: job.port, database: job.database, statementTimeoutMs, ...access };
}

async function inventoryOf(dependencies: HostDependencies, input: Examined, signal: AbortSignal): Promise<RestoredFindings> {
  const { job } = input;
  await keepServerUp(dependencies, job, signal);
  const { binDirectory } = await installationOf(dependencies, job);
  const server = { ...(await serverOf(dependencies, input)), database: 'postgres', signal };
  const configuration = await configurationFindings(job.dataDirectory, binDirectory);
  return boundedFindings([...(await takeInventory(server)), ...configuration]);
}

async function runChecks(dependencies: HostDependencies, input: Examined, step: ActivityStep): Promise<CheckReport[]> {
  const { job, request } = input;
  await keepServerUp(dependencies, job, step.signal);
  const server = { ...(await serverOf(dependencies, input)), signal: step.signal };
  const reports: CheckReport[] = [];
  for (const check of request.checks) reports.push(await runCheck({ ...server, database: check.database ?? job.database }, check));
  if (request.baseline !== undefined) {
    await using connection = await connectServer(server);
    const { tables } = await countRows(connection);
    const found = new Map(tables.map(({ table, rows }) => [table, rows]));
    reports.push(compareRows(await baselineOf(dependencies, job, step.signal), found, { percent: request.baseline.tolerancePercent }));
  }
  if (request.amcheck === true) reports.push(...(await amcheckEverywhere(server)));
  if (request.verifyPages === true) reports.push(await checkPagesOf(job, step));
  return reports;
}

async function runCheck(server: ConnectOptions, check: DataCheck): Promise<CheckReport> {
  await using connection = await connectServer(server);
  await connection.query('BEGIN TRANSACTION READ ONLY');
  const actual = (await connection.queryFirstValue(check.sql))?.slice(0, checkValueMaximumLength) ?? null;
  return { sql: check.sql, expected: check.expected, actual, ok: actual === check.expected };
}

async function amcheckEverywhere(server: ConnectOptions): Promise<CheckReport[]> {
  const databases = await (async () => {
    await using connection = await connectServer({ ...server, database: 'postgres' });
    return await connection.query<{ name: string }>(
      'SELECT datname AS name FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY datname',
    );
  })();
  const reports: CheckReport[] = [];
  for (const { name } of databases) {
    await using connection = await connectServer({ ...server, database: name });
    const { indexes, tables, problems } = await runAmcheck(connection);
    const expected = `${indexes} indexes and ${tables} tables are in order`;
    const actual = problems.length === 0 ? expected : problems.join('; ').slice(0, checkValueMaximumLength);
    reports.push({ sql: `amcheck of the database ${name}`, expected, actual, ok: problems.length === 0 });
  }
  return reports;
}

async function checkPagesOf(job: RestoreJob, step: ActivityStep): Promise<CheckReport> {
  const { dataDirectory } = job;
  const { blockBytes, segmentBlocks, dataChecksumVersion } = await readControlData(dataDirectory);
  const sql = 'checksums of all pages';
  if (dataChecksumVersion === 0) return { sql, expected: 'no damaged page', actual: 'pages carry no checksums', ok: false };
  const { pages, damaged, damagedCount } = await verifyPages(dataDirectory, {
    pgVersion: job.plan.backup.pgVersion,
    pages: { blockBytes, segmentBlocks, hasChecksums: true },
    signal: step.signal,
    onProgress: (bytesDone) => step.report({ bytesDone }),
  });
  const expected = `${pages} pages are as they were written`;
  const actual = damagedCount === 0 ? expected : `${damagedCount} pages are damaged: ${damaged.join(', ')}`;
  return { sql, expected, actual, ok: damagedCount === 0 };
}

async function takeBaseline(server: ConnectOptions): Promise<RowBaseline> {
  await using connection = await connectServer(server);
  const { now } = await readServerFacts(connection);
  return { takenAt: now, database: server.database, ...(await countRows(connection)) };
}
