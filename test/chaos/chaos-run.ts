/** One run under troubles, judged: exact rows, or a clear failure and nothing promoted. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { demoCluster, demoHost } from '../../src/demo/demo-site.ts';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { type ErrorCode, WalkbackError } from '../../src/domain/errors.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import type { RecoveryTarget } from '../../src/domain/recovery-target.ts';
import type { RestoreRequest } from '../../src/domain/restore-request.ts';
import { restoreWorkflowId } from '../../src/domain/workflow-ids.ts';
import { startServer, stopServer } from '../../src/postgres/process-control.ts';
import { readMarker } from '../../src/postgres/restore-marker.ts';
import { serverState } from '../../src/postgres/server-state.ts';
import type { ChaosPlan } from './chaos-plan.ts';
import type { ChaosSite } from './chaos-site.ts';

/** How a run ended. */
export type ChaosVerdict =
  | { readonly kind: 'landed'; readonly attempts: number }
  | { readonly kind: 'failed-clearly'; readonly code: ErrorCode; readonly message: string };

/** More than any trouble lasts, retries included. */
const operationBoundMs = 6 * 60_000;
const retryPauseMs = 300;
const startTimeoutMs = 60_000;
const stopTimeoutMs = 30_000;
/** These are no clear failures: something is wrong with walkback itself. */
const unclear: ReadonlySet<ErrorCode> = new Set(['INTERNAL', 'LANDED_WRONG', 'CHECK_FAILED', 'INVALID_REQUEST', 'CANCELLED']);
/** Nobody is there to ask at the moment. */
const passing: ReadonlySet<ErrorCode> = new Set(['TEMPORAL_UNREACHABLE', 'NO_WORKER', 'NO_AGENT_ON_HOST']);

/**
 * Runs a plan.
 * @param smallDisk where the restore goes, to be filled. Default: into the site's own directory, and no disk is filled
 * @throws Error that says what is wrong, when the outcome is neither
 */
export async function runPlan(site: ChaosSite, plan: ChaosPlan, smallDisk?: string): Promise<ChaosVerdict> {
  const { scene } = site;
  await site.refreshBackup({ now: smallDisk !== undefined });
  await scene.writeSegments(plan.segments);
  if (plan.backup !== 'none') await backUp(site, plan);
  const { target, rows } = await targetOf(site, plan);
  const name = `seed-${plan.seed}-${Date.now() % 1_000_000}`;
  const dataDirectory = join(smallDisk ?? scene.site.directory, name);
  scene.site.restored.push(dataDirectory);
  const request = { cluster: demoCluster, name, host: demoHost, target, dataDirectory, port: await freePort() };
  const heal = site.unleash(plan.duringRestore, dataDirectory, smallDisk);
  try {
    const outcome = await bounded(outcomeOf(site, request), heal);
    await heal();
    const verdict = outcome instanceof WalkbackError ? await judgeFailure(outcome, dataDirectory) : await judgeLanding(site, outcome, rows);
    await assertSourceArchives(site);
    return verdict;
  } finally {
    await heal();
    await stopServer({ dataDirectory, mode: 'immediate', timeoutMs: stopTimeoutMs });
    await rm(dataDirectory, { recursive: true, force: true });
  }
}

/** It may fail; a backup that is said to be there is used by the restore. */
async function backUp(site: ChaosSite, plan: ChaosPlan): Promise<void> {
  const { client } = site.scene.site;
  const heal = site.unleash(plan.duringBackup, site.scene.site.source.dataDirectory);
  const kind = plan.backup === 'incremental' ? 'incremental' : 'full';
  try {
    const started = await insistently(() => client.startBackup({ cluster: demoCluster, kind }));
    const handle = started ?? client.getBackup(`backup/${demoCluster}`);
    await bounded(
      insistently(() => handle.result()).catch((error: unknown) => assertClear(error)),
      heal,
    );
  } finally {
    await heal();
  }
}

async function targetOf({ scene }: ChaosSite, plan: ChaosPlan): Promise<{ target: RecoveryTarget; rows: string }> {
  if (plan.target === 'between') {
    const { time, rows } = await scene.noteTarget();
    await scene.writeSegments(1);
    return { target: { kind: 'time', time }, rows };
  }
  const rows = await scene.rowsOfSource();
  const now = await scene.valueOfSource('SELECT clock_timestamp()::text');
  return { target: plan.target === 'latest' ? { kind: 'latest' } : { kind: 'time', time: parseInstant(now) }, rows };
}

/** The landing report, or the error that the restore ended with. */
async function outcomeOf({ scene }: ChaosSite, request: RestoreRequest): Promise<LandingReport | WalkbackError> {
  const { client } = scene.site;
  const id = restoreWorkflowId(request.host, request.dataDirectory);
  try {
    const handle = (await insistently(() => client.startRestore(request))) ?? client.getRestore(id);
    return (await insistently(() => handle.result())) ?? failWith(`${id} has no result`);
  } catch (error) {
    if (error instanceof WalkbackError) return error;
    throw error;
  }
}

/** Asks again while Temporal is away. @returns undefined when an answer was lost, and what was asked for runs already */
async function insistently<T>(ask: () => Promise<T>): Promise<T | undefined> {
  const deadlineMs = Date.now() + operationBoundMs;
  for (let asked = 1; ; asked += 1) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof WalkbackError)) throw error;
      if (error.code === 'ALREADY_RUNNING' && asked > 1) return undefined;
      if (!passing.has(error.code) || isOutcome(error) || Date.now() > deadlineMs) throw error;
      await delay(retryPauseMs);
    }
  }
}

/** A workflow may end with such a code too; it says then what became of the directory. */
function isOutcome({ message }: WalkbackError): boolean {
  return /data directory|was written to|the step/i.test(message);
}

async function bounded<T>(work: Promise<T>, heal: () => Promise<void>): Promise<T> {
  const ended = new AbortController();
  const late = delay(operationBoundMs, 'late' as const, { signal: ended.signal }).catch(() => 'late' as const);
  const outcome = await Promise.race([work.then((value) => ({ value })), late]).finally(() => ended.abort());
  if (outcome !== 'late') return outcome.value;
  await heal();
  return failWith(`it has not ended within ${operationBoundMs / 1000} s`);
}

async function judgeLanding({ scene }: ChaosSite, report: LandingReport, rows: string): Promise<ChaosVerdict> {
  const { binDirectory } = scene.site.installation;
  const { dataDirectory } = report;
  // A kill may have met it when it was open already, and then it is its owner's to start.
  const logFile = join(scene.site.directory, 'restored-again.log');
  await startServer({ binDirectory, dataDirectory, logFile, timeoutMs: startTimeoutMs, until: 'accepting' });
  const found = await scene.rowsOf(report);
  if (found !== rows) failWith(`the restored cluster holds ${found}, and at the target it was ${rows}`);
  return { kind: 'landed', attempts: report.steps.reduce((sum, step) => sum + step.attempts, 0) };
}

async function judgeFailure(error: WalkbackError, dataDirectory: string): Promise<ChaosVerdict> {
  assertClear(error);
  const [state, marker] = [await serverState(dataDirectory), await readMarker(dataDirectory)];
  if (state.running) failWith(`it failed with ${error.code}, and a server runs on ${dataDirectory}`);
  if (marker !== undefined && marker.phase !== 'abandoned')
    failWith(`it failed with ${error.code}, and ${dataDirectory} is not abandoned but ${marker.phase}`);
  return { kind: 'failed-clearly', code: error.code, message: error.message };
}

function assertClear(error: unknown): void {
  if (!(error instanceof WalkbackError) || unclear.has(error.code)) throw error;
}

async function assertSourceArchives({ scene }: ChaosSite): Promise<void> {
  const [name] = await scene.writeSegments(1);
  await scene.untilArchived(name!);
}

function failWith(reason: string): never {
  throw new Error(reason);
}
