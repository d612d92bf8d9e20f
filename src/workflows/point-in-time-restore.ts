/**
 * The main job: a cluster comes back as it was at an instant, as a new cluster with credentials of its own. Read it top to bottom: each step
 * is one activity that may be retried; what happens next is decided here, on values.
 */
import { setHandler } from '@temporalio/workflow';
import type { PlannedRestore, RestoreJob } from '../activities/types.ts';
import type { SourceProof } from '../domain/early-end.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { CheckReport, DamagedBackup, LandingReport } from '../domain/landing-report.ts';
import { describeTarget, type RecoveryTarget } from '../domain/recovery-target.ts';
import { type CompleteRestoreRequest, completeRestoreRequest } from '../domain/restore-request.ts';
import type { hostActivities } from './activity-options.ts';
import type { RestoreRequest } from './contract.ts';
import { failingAsApplicationFailure, walkbackErrorOf } from './failures.ts';
import { DecisionDesk } from './decision-desk.ts';
import { fetchBackup } from './fetch-backup.ts';
import { type Goal, recoverToTarget } from './recover-to-target.ts';
import { protectChild } from './protect-child.ts';
import { reportOf, storeReport } from './restore-report.ts';
import { restoreProgress } from './restore-messages.ts';
import { renderRestoreDetails } from './render-details.ts';
import { liftSourceFence, retireSource } from './retire-source.ts';
import { RestoreSteps } from './restore-steps.ts';
import type { Desk, RestoreWorld } from './restore-world.ts';
import { temporalWorld } from './temporal-world.ts';

/** Restores a cluster to a target; the result is the landing report. Fails with a code of domain/errors.ts as the failure's type. */
export async function pointInTimeRestore(input: RestoreRequest): Promise<LandingReport> {
  const steps = new RestoreSteps(temporalWorld(), (state, landing) => renderRestoreDetails(input, state, landing));
  setHandler(restoreProgress, () => steps.state, { description: 'Where the restore stands, and the steps done' });
  const desk = new DecisionDesk(() => steps.state.phase);
  return await failingAsApplicationFailure(() => restore(input, steps, desk));
}

type Steps = RestoreSteps;

/** The story of a restore, whoever runs it. */
export async function restore(input: RestoreRequest, steps: Steps, desk: Desk): Promise<LandingReport> {
  const startedMs = Date.now();
  const { control } = steps.world;
  const request = completeRestoreRequest(input, new Date());
  const host = steps.world.host(request.host, request);

  const first = await steps.run('plan', `Plan a restore of ${request.cluster} to ${describeTarget(request.target)}`, (summary) =>
    control.planRestore(summary, { request }),
  );
  const proven = await claimAndProve(request, first, steps);

  const hostIsGivenUp = steps.waitForHost({ request, desk });
  try {
    const retired = await retireSource(request, { place: first.source, restoreId: proven.job.restoreId, steps });
    await steps.run('create-data-directory', `Create ${request.dataDirectory}`, (summary) => host.createDataDirectory(summary, proven.job));
    const planWithout = (without: readonly DamagedBackup[]) => planOlder(request, { sourceProof: proven.sourceProof, without }, steps);
    const { goal, fetched, damagedBackups } = await fetchBackup({ host, steps, request, planWithout }, proven);
    const { job } = goal;
    const replan = (target: RecoveryTarget) => planAgain(request, { target, first, goal }, steps);
    const recovered = await recoverToTarget({ host, steps, request, desk, replan }, goal);
    const swapped = await steps.run('swap-roles', `Replace the roles and passwords of ${job.name}`, (summary) =>
      host.swapRoles(summary, { job, request }),
    );
    const inventory = steps.world.knows('take-inventory')
      ? await steps.run('take-inventory', `Look what came along to ${job.name}, and switch its subscriptions off`, (summary) =>
          host.takeInventory(summary, { job, request }),
        )
      : undefined;
    const checks = await steps.run('run-checks', `Ask the restored data ${request.checks.length} questions`, (summary) =>
      host.runChecks(summary, { job, request }),
    );
    assertChecksPassed(checks);
    const opened = await steps.run('open-to-clients', `Open ${job.name} on port ${job.port}`, (summary) =>
      host.openToClients(summary, { job, request }),
    );
    const report = reportOf({
      request,
      job,
      recovered,
      swapped,
      checks,
      inventory,
      opened,
      fetched,
      damagedBackups,
      retired,
      decisions: desk.decisions,
      steps,
      startedMs,
    });
    // From here on the cluster is open, and nothing takes it away again.
    hostIsGivenUp();
    const landed = await storeReport(report, { job, steps });
    const stored = request.protect ? await protectAndStore(landed, { job, steps }) : landed;
    const last = { ...stored, steps: steps.state.steps, totalMilliseconds: Date.now() - startedMs };
    steps.showLanding(last);
    steps.enter('done', `${job.name} is open on port ${job.port}`);
    return last;
  } catch (error) {
    hostIsGivenUp();
    throw await abandon(error, {
      host,
      steps,
      job: proven.job,
      giveBackSource: () => liftSourceFence(request, { place: first.source, restoreId: proven.job.restoreId, steps }),
    });
  }
}

async function protectAndStore(
  report: LandingReport,
  context: { readonly job: RestoreJob; readonly steps: Steps },
): Promise<LandingReport> {
  const protection = await protectChild(context.job, report.host, context.steps);
  return await storeReport({ ...report, protection, steps: context.steps.state.steps }, context);
}

/** Up to the end of this nothing is made. What the check takes on the host, a name and a port, is given back when the restore goes no further. */
async function claimAndProve(request: CompleteRestoreRequest, first: PlannedRestore, steps: Steps): Promise<Goal> {
  const host = steps.world.host(request.host);
  const claim = jobOf(steps.world, request, first);
  let isClaimed = false;
  try {
    await steps
      .run('check-host', `Check ${request.dataDirectory} and port ${request.port} on ${request.host}`, (summary) =>
        host.checkHost(summary, { request, job: claim }),
      )
      .catch(rethrowWithHost(steps.world, request.host));
    isClaimed = true;
    const sourceProof = await closeSourceWal(request, first, steps);
    const planned = await steps.run('prove-wal', 'Prove by listing that every WAL file is in the archive', (summary) =>
      steps.world.control.planRestore(summary, sourceProof === undefined ? { request } : { request, sourceProof }),
    );
    return { sourceProof, job: jobOf(steps.world, request, planned) };
  } catch (error) {
    if (isClaimed || steps.world.isCancellation(error)) await giveBack(host, claim, steps);
    throw error;
  }
}

async function giveBack(host: ReturnType<typeof hostActivities>, claim: RestoreJob, steps: Steps): Promise<void> {
  try {
    await steps.world.uncancelled(() => host.releaseClaim(`Give back the name ${claim.name} and port ${claim.port}`, claim));
  } catch {
    // The host does not answer: its claim stays until a restore into the same directory takes it over. Why this restore ends is told instead.
  }
}

/** Makes the source close its WAL, so that the archive holds every commit up to the target. A source that does not answer is no reason to stop. */
async function closeSourceWal(request: CompleteRestoreRequest, planned: PlannedRestore, steps: Steps): Promise<SourceProof | undefined> {
  if (request.source === 'leave') return undefined;
  const { cluster, archiveUrl, host } = planned.source;
  const source = steps.world.host(host);
  if (request.source === 'salvage') {
    const { systemIdentifier } = planned.plan.backup;
    return await steps
      .run('salvage-source', `Bring the WAL that ${cluster} has left on ${host} into the archive`, (summary) =>
        source.salvageSource(summary, { cluster, archiveUrl, target: request.target, systemIdentifier }),
      )
      .catch(rethrowWithHost(steps.world, host));
  }
  if (request.source === 'stop') {
    return await steps
      .run('stop-source', `Stop ${cluster} on ${host}`, (summary) =>
        source.stopSource(summary, { cluster, archiveUrl, target: request.target }),
      )
      .catch(rethrowWithHost(steps.world, host));
  }
  try {
    return await steps.run('flush-source', `Make ${cluster} close its WAL segment, and wait until it is archived`, (summary) =>
      source.flushSource(summary, { cluster, archiveUrl, target: request.target }),
    );
  } catch (error) {
    // By the source's own clock or position there is nothing yet to restore to: no archive will change that.
    if (steps.world.isCancellation(error) || walkbackErrorOf(error).code === 'TARGET_IN_FUTURE') throw error;
    steps.enter(
      'flush-source',
      `${cluster} could not close its WAL: ${walkbackErrorOf(error, host).message} Going on with what is archived.`,
    );
    return undefined;
  }
}

/** The same base backup, with the WAL that is archived by now: for a later target, or for the same one once more. */
async function planAgain(
  request: CompleteRestoreRequest,
  again: { readonly target: RecoveryTarget; readonly first: PlannedRestore; readonly goal: Goal },
  steps: Steps,
): Promise<Goal> {
  const { backup } = again.goal.job.plan;
  const later = { ...request, target: again.target, backup: backup.name };
  // A source that was stopped for this restore, or was dead, has no more WAL to close.
  const sourceProof =
    request.source === 'stop' || request.source === 'salvage' ? again.goal.sourceProof : await closeSourceWal(later, again.first, steps);
  const planned = await steps.run('prove-wal', `Prove the WAL from ${backup.name} to ${describeTarget(again.target)}`, (summary) =>
    steps.world.control.planRestore(summary, sourceProof === undefined ? { request: later } : { request: later, sourceProof }),
  );
  return { sourceProof, job: jobOf(steps.world, later, planned) };
}

/** The same target from the newest backup that is left; what the source closed for this restore has to be in its WAL too. */
async function planOlder(
  request: CompleteRestoreRequest,
  { sourceProof, without }: { readonly sourceProof: SourceProof | undefined; readonly without: readonly DamagedBackup[] },
  steps: Steps,
): Promise<Goal> {
  const input = sourceProof === undefined ? { request, without } : { request, sourceProof, without };
  const planned = await steps.run('prove-wal', `Prove the WAL from an older base backup to ${describeTarget(request.target)}`, (summary) =>
    steps.world.control.planRestore(summary, input),
  );
  return { sourceProof, job: jobOf(steps.world, request, planned) };
}

/** Whatever went wrong: PostgreSQL is stopped, the directory kept and unbootable, and both named in the error. */
async function abandon(
  error: unknown,
  context: { host: ReturnType<typeof hostActivities>; steps: Steps; job: RestoreJob; giveBackSource: () => Promise<string> },
): Promise<unknown> {
  const { host, steps, job, giveBackSource } = context;
  const reason = steps.world.isCancellation(error) ? 'cancelled' : walkbackErrorOf(error, hostOf(job)).message;
  const left = await steps.world.uncancelled(async () => {
    try {
      const { kept } = await steps.run('abandon', `Stop ${job.name} and keep ${job.dataDirectory}`, (summary) =>
        host.abandonRestore(summary, { job, reason }),
      );
      return kept
        ? `The data directory ${job.dataDirectory} is kept, its server stopped; it cannot be started.`
        : `Nothing was written to ${job.dataDirectory}.`;
    } catch (problem) {
      return `The data directory ${job.dataDirectory} could not be closed: ${walkbackErrorOf(problem, hostOf(job)).message} Look at it before anything else.`;
    }
  });
  const source = await steps.world.uncancelled(giveBackSource);
  const sentence = `${left}${source}`;
  steps.enter('failed', `${reason} ${sentence}`);
  if (steps.world.isCancellation(error)) return error;
  const original = walkbackErrorOf(error, hostOf(job));
  return new WalkbackError(original.code, `${original.message} ${sentence}`, {
    hint: original.hint,
    facts: { ...original.facts, dataDirectory: job.dataDirectory },
  });
}

function jobOf({ restoreId, runId }: RestoreWorld, request: CompleteRestoreRequest, planned: PlannedRestore): RestoreJob {
  const { cluster, name, dataDirectory, port, target, timeline, atTarget } = request;
  const { archiveUrl, adminRole, database } = planned.source;
  const place = { archiveUrl, childArchiveUrl: planned.childArchiveUrl, adminRole, database };
  return { restoreId, runId, cluster, name, dataDirectory, port, ...place, target, timeline, atTarget, plan: planned.plan };
}

function hostOf(job: RestoreJob): string {
  return job.restoreId.split('/')[1] ?? job.restoreId;
}

function rethrowWithHost(world: RestoreWorld, host: string): (error: unknown) => never {
  return (error) => {
    throw world.isCancellation(error) ? error : walkbackErrorOf(error, host);
  };
}

function assertChecksPassed(checks: readonly CheckReport[]): void {
  const wrong = checks.filter((check) => !check.ok);
  const [first] = wrong;
  if (first === undefined) return;
  const message = `${wrong.length} of ${checks.length} checks failed; the first, "${first.sql}", gave ${first.actual ?? 'NULL'} where ${first.expected ?? 'NULL'} was expected.`;
  throw new WalkbackError('CHECK_FAILED', message, { facts: { sql: first.sql, expected: first.expected, actual: first.actual } });
}
