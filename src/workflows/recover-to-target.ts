/** From a fetched base backup to a promoted server: start, await, and when recovery pauses or ends before the target, decide. */
import type { Landing, RecoveryOutcome, RestoreJob } from '../activities/types.ts';
import { classifyEarlyEnd, type EarlyEndVerdict, type SourceProof } from '../domain/early-end.ts';
import { WalkbackError } from '../domain/errors.ts';
import { whyNotLater } from '../domain/landing-proof.ts';
import type { InsufficientSetting } from '../domain/recovery-events.ts';
import { describeTarget, type RecoveryTarget } from '../domain/recovery-target.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import type { hostActivities } from './activity-options.ts';
import type { Decision } from './decisions.ts';
import { type EarlyEnd, landed, mergeLandings, type Recovered } from './recovered.ts';
import type { RestoreSteps } from './restore-steps.ts';
import type { Desk } from './restore-world.ts';

/** How often PostgreSQL may be started on one directory before the restore is given up: kill -9, a store outage, a full disk, decisions. */
const recoveryStartsMaximum = 20;
const restartDelayFirstMs = 500;
const restartDelayMaximumMs = 30_000;

/** Where recovery goes, and what is proven of the way: a decision may change it. */
export interface Goal {
  readonly job: RestoreJob;
  readonly sourceProof: SourceProof | undefined;
}

/** What recovery needs. */
export interface RecoveryContext {
  readonly host: ReturnType<typeof hostActivities>;
  readonly steps: RestoreSteps;
  readonly request: CompleteRestoreRequest;
  readonly desk: Desk;
  /** Plans anew from the same base backup, with the WAL that is archived by now. */
  readonly replan: (target: RecoveryTarget) => Promise<Goal>;
}

/** What follows on an outcome: another start, perhaps to another goal or without its target, or the end. */
type Next =
  | {
      readonly kind: 'start';
      readonly goal: Goal;
      readonly earlyEnd: EarlyEnd | undefined;
      /** It was decided to promote at this goal, and the server was lost on the way: nobody is asked again. */
      readonly promoteDecided?: boolean;
    }
  | { readonly kind: 'landed'; readonly recovered: Recovered };

type Start = Extract<Next, { readonly kind: 'start' }>;

/**
 * Brings the server to its target and out of recovery.
 * @throws WalkbackError TARGET_NOT_PROVEN, LANDED_WRONG, RECOVERY_FAILED, ABORTED
 */
export async function recoverToTarget(context: RecoveryContext, first: Goal): Promise<Recovered> {
  let lastInterruption = 'none';
  let next: Start = { kind: 'start', goal: first, earlyEnd: undefined };
  for (let startNumber = 1; startNumber <= recoveryStartsMaximum; startNumber += 1) {
    const { goal, earlyEnd, promoteDecided = false }: Start = next;
    const outcome = await startAndAwait(context, goal.job, { startNumber, dropTarget: earlyEnd !== undefined });
    if (outcome.kind === 'interrupted') {
      lastInterruption = outcome.reason;
      await pauseBeforeStart(context, startNumber, outcome.reason);
      continue;
    }
    const after = await afterOutcome(context, outcome, { goal, earlyEnd, promoteDecided, startNumber });
    if (after.kind === 'landed') return after.recovered;
    next = after;
  }
  throw new WalkbackError(
    'RECOVERY_FAILED',
    `PostgreSQL did not get through recovery in ${recoveryStartsMaximum} starts; the last interruption: ${lastInterruption}.`,
  );
}

interface Started {
  readonly goal: Goal;
  readonly earlyEnd: EarlyEnd | undefined;
  readonly promoteDecided: boolean;
  readonly startNumber: number;
}

async function afterOutcome(
  context: RecoveryContext,
  outcome: Exclude<RecoveryOutcome, { kind: 'interrupted' }>,
  started: Started,
): Promise<Next> {
  const { goal, earlyEnd } = started;
  if (outcome.kind === 'promoted') return { kind: 'landed', recovered: landed(context.request, goal, outcome.landing, earlyEnd) };
  if (outcome.kind === 'paused') return await afterPause(context, outcome.landing, started);
  if (outcome.kind === 'setting-too-low') return await afterTooLow(context, outcome.setting, started);
  return await afterEarlyEnd(context, outcome.landing, goal);
}

async function startAndAwait(
  { host, steps }: RecoveryContext,
  job: RestoreJob,
  start: { readonly startNumber: number; readonly dropTarget: boolean },
): Promise<RecoveryOutcome> {
  const { startNumber, dropTarget } = start;
  const configure = dropTarget
    ? 'Drop the target on the same directory: the end of the WAL is the state asked for'
    : `Configure recovery to ${describeTarget(job.target)}`;
  await steps.run(dropTarget ? 'drop-target' : 'configure-recovery', configure, (summary) =>
    host.configureRecovery(summary, { job, dropTarget, startNumber }),
  );
  await steps.run('start-postgres', `Start PostgreSQL on ${job.dataDirectory}, closed to clients`, (summary) =>
    host.startPostgres(summary, { job, startNumber }),
  );
  return await steps.run('await-recovery', 'Await the end of recovery', (summary) =>
    host.awaitRecovery(summary, { job, startNumber, resumed: false }),
  );
}

async function pauseBeforeStart({ steps }: RecoveryContext, startNumber: number, reason: string): Promise<void> {
  const delayMs = Math.min(restartDelayFirstMs * 2 ** (startNumber - 1), restartDelayMaximumMs);
  await steps.world.sleep(delayMs, `Start again: ${reason}`);
}

/** Replay waits, or has ended, until the setting is as high as on the source (manual, section 27.4.3). */
async function afterTooLow({ steps, host }: RecoveryContext, setting: InsufficientSetting, { goal, earlyEnd }: Started): Promise<Next> {
  const { name, value, needed } = setting;
  const why = `The source raised ${name} from ${value} to ${needed} after the base backup: start again with that`;
  await steps.run('raise-setting', why, (summary) => host.stopPostgres(summary, goal.job));
  const minimums = { ...goal.job.minimums, [name]: needed };
  return { kind: 'start', goal: { ...goal, job: { ...goal.job, minimums } }, earlyEnd };
}

async function afterPause(context: RecoveryContext, paused: Landing, started: Started): Promise<Next> {
  const { steps, host, request } = context;
  const { goal, earlyEnd, promoteDecided, startNumber } = started;
  const decision = promoteDecided ? ({ kind: 'promote' } as const) : await askPaused(context, goal, paused);
  if (decision.kind === 'advance') {
    await steps.run('advance', `Stop PostgreSQL, to go on to ${describeTarget(decision.target)}`, (summary) =>
      host.stopPostgres(summary, goal.job),
    );
    return { kind: 'start', goal: await context.replan(decision.target), earlyEnd: undefined };
  }
  await steps.run('promote', `Promote ${goal.job.name}`, (summary) => host.promotePaused(summary, goal.job));
  const outcome = await steps.run('await-recovery', 'Await the end of recovery', (summary) =>
    host.awaitRecovery(summary, { job: goal.job, startNumber, resumed: true }),
  );
  // A server that was lost on the way is started again, and pauses again.
  if (outcome.kind !== 'promoted') return { kind: 'start', goal, earlyEnd, promoteDecided: steps.world.knows('promote-as-decided') };
  return { kind: 'landed', recovered: landed(request, goal, mergeLandings(paused, outcome.landing), earlyEnd) };
}

async function askPaused({ steps, request, desk }: RecoveryContext, { job }: Goal, { summary }: Landing): Promise<Decision> {
  const accepted = ['promote', 'advance', 'abort'] as const;
  steps.enter(
    'paused-at-target',
    'Paused at the target, read-only on the private socket',
    'the update `promote`, `advance` (a later target) or `abort`, or cancel',
  );
  const paused = { target: job.target, stop: summary.stop, lastCommitKept: summary.lastCompletedTransactionTime };
  return await desk.ask({ accepted, whyNotLater: (target) => whyNotLater(target, paused) }, request.decisionWithinMinutes);
}

async function afterEarlyEnd(context: RecoveryContext, landing: Landing, goal: Goal): Promise<Next> {
  const { request, steps } = context;
  const { job, sourceProof } = goal;
  const verdict = classifyEarlyEnd({
    target: job.target,
    view: job.plan.view,
    sourceProof,
    viewClosedAt: job.plan.viewClosedAt,
    // A worker of before that record's time has gone on without it.
    laterRecord: landing.laterRecord !== undefined && steps.world.knows('later-record') ? landing.laterRecord : undefined,
    lastSegmentRestored: landing.lastSegmentRestored,
  });
  const taken: Next = { kind: 'start', goal, earlyEnd: { verdict, landing } };
  const isTaken = request.onEarlyEnd === 'promote' || (request.onEarlyEnd === 'promote-if-complete' && verdict.kind === 'complete');
  const mustAsk = request.onEarlyEnd === 'ask' || (isTaken && request.atTarget === 'pause');
  if (!isTaken && !mustAsk) throw notProven(goal, landing, verdict, request);
  if (!mustAsk) return taken;
  const decision = await askAfterEarlyEnd(context, goal, { verdict, landing });
  if (decision.kind === 'promote') return taken;
  const target = decision.kind === 'advance' ? decision.target : job.target;
  return { kind: 'start', goal: await context.replan(target), earlyEnd: undefined };
}

async function askAfterEarlyEnd({ steps, request, desk }: RecoveryContext, goal: Goal, { verdict, landing }: EarlyEnd): Promise<Decision> {
  steps.enter(
    request.onEarlyEnd === 'ask' ? 'awaiting-decision' : 'paused-at-target',
    `${earlyEndFacts(goal, landing)} ${verdict.kind === 'complete' ? verdict.proof : `Not proven to be the state at the target: ${verdict.reason}.`}`,
    'the update `promote` (take the end of the WAL), `retry` (look for new WAL) or `abort`, or cancel',
  );
  return await desk.ask({ accepted: ['promote', 'retry', 'abort'] }, request.decisionWithinMinutes);
}

function notProven(goal: Goal, landing: Landing, verdict: EarlyEndVerdict, request: CompleteRestoreRequest): WalkbackError {
  const why =
    verdict.kind === 'complete'
      ? 'The request says to fail then, although the end of the WAL is proven to be the state at the target.'
      : `It is not proven to be complete: ${verdict.reason}.`;
  return new WalkbackError('TARGET_NOT_PROVEN', `${earlyEndFacts(goal, landing)} ${why}`, {
    facts: {
      lastCommit: landing.summary.lastCompletedTransactionTime ?? null,
      verdict: verdict.kind,
      policy: request.onEarlyEnd,
    },
  });
}

function earlyEndFacts({ job }: Goal, landing: Landing): string {
  const last = landing.summary.lastCompletedTransactionTime;
  return `Recovery ended before the target ${describeTarget(job.target)}. The last commit in the WAL is of ${last ?? 'before the base backup'}.`;
}
