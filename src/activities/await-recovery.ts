/** Watches a server in recovery until it has landed, paused, ended early, or is gone. The log decides: what pg_ctl says proves nothing. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Failure } from '../agent/protocol.ts';
import { type ErrorCode, isErrorCode, messageOf, WalkbackError } from '../domain/errors.ts';
import { insufficientSettingIn } from '../domain/recovery-events.ts';
import { describeFatal, type RecoveryFatal } from '../domain/recovery-fatal.ts';
import { recoveryFatals } from '../domain/recovery-fatals.ts';
import { type ConnectOptions, connectServer } from '../postgres/connection.ts';
import { probeWrite, readLandingFacts, readRecoveryProgress } from '../postgres/recovery-progress.ts';
import { serverState } from '../postgres/server-state.ts';
import type { ActivityStep } from './activity.ts';
import { landingOfEarlierStart, RecoveryLog } from './recovery-log.ts';
import type { Landing, RecoveryOutcome, RestoreJob } from './types.ts';

/** What the watch needs beside the job. */
export interface RecoveryWatch {
  readonly job: RestoreJob;
  readonly startNumber: number;
  /** A pause has been ended: it is not reported again. */
  readonly resumed: boolean;
  readonly server: ConnectOptions;
  /** Why the agent could not bring a WAL file, as long as it has not brought one since. */
  readonly walFailure: () => Promise<Failure | undefined>;
}

const pollIntervalMs = 100;
/** Asking the server is dearer than reading its log. */
const progressIntervalMs = 1000;
const progressTimeoutMs = 2000;
const noteMaximumLength = 300;

/** A WAL file that the archive does not hold as it was archived is not there at the next start either. */
const lastingWalFailures: ReadonlySet<ErrorCode> = new Set(['OBJECT_DAMAGED', 'WAL_REFUSED', 'WAL_MISSING', 'ARCHIVE_FORMAT_UNSUPPORTED']);

/**
 * Watches.
 * @throws WalkbackError RECOVERY_FAILED for a reason that another start does not mend; OBJECT_DAMAGED, WAL_MISSING, WAL_REFUSED or
 * ARCHIVE_FORMAT_UNSUPPORTED for a WAL file that cannot be replayed, whatever is tried
 */
export async function awaitRecovery(watch: RecoveryWatch, step: ActivityStep): Promise<RecoveryOutcome> {
  const log = new RecoveryLog(watch.job, watch.startNumber);
  let progressAtMs = -Infinity;
  for (;;) {
    step.signal.throwIfAborted();
    const { running } = await serverState(watch.job.dataDirectory);
    // Read after looking at the server: one that is gone has written all it had to say.
    await log.read();
    const outcome = running ? await outcomeOfRunning(watch, log) : await outcomeOfGone(watch, log);
    if (outcome !== undefined) return outcome;
    if (performance.now() - progressAtMs >= progressIntervalMs) {
      progressAtMs = performance.now();
      await reportProgress(watch, step);
    }
    await delay(pollIntervalMs, undefined, { signal: step.signal });
  }
}

async function outcomeOfRunning(watch: RecoveryWatch, log: RecoveryLog): Promise<RecoveryOutcome | undefined> {
  const { summary } = log;
  if (summary.fatal !== undefined) return undefined;
  if (summary.insufficientSetting !== undefined)
    return { kind: 'setting-too-low', setting: summary.insufficientSetting, landing: log.landing(watch.job.plan.timeline) };
  if (summary.paused && summary.stop !== undefined && !watch.resumed)
    return { kind: 'paused', landing: log.landing(watch.job.plan.timeline) };
  // A server that was killed behind its promotion comes back without recovery, and is ready with no word of it.
  if (!(summary.complete || summary.ready) || !(await hasLeftRecovery(watch))) return undefined;
  await using connection = await connectServer(watch.server);
  const { inRecovery } = await readRecoveryProgress(connection);
  if (inRecovery) return undefined;
  await probeWrite(connection);
  const { timeline } = await readLandingFacts(connection);
  const landing =
    log.landingOfPromotion(timeline) ?? (await landingOfEarlierStart(watch.job, { startNumber: watch.startNumber, timeline }));
  if (landing !== undefined) return { kind: 'promoted', landing };
  throw new WalkbackError('RECOVERY_FAILED', `PostgreSQL has left recovery on ${watch.job.dataDirectory}, and no log tells where.`, {
    hint: 'Remove the directory, and restore again.',
  });
}

async function hasLeftRecovery(watch: RecoveryWatch): Promise<boolean> {
  try {
    await access(join(watch.job.dataDirectory, 'recovery.signal'));
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
    throw error;
  }
}

async function outcomeOfGone(watch: RecoveryWatch, log: RecoveryLog): Promise<RecoveryOutcome> {
  const { fatal } = log.summary;
  const landing = log.landing(watch.job.plan.timeline);
  if (fatal?.code === 'ended-before-target') return { kind: 'ended-early', landing };
  const setting = fatal?.code === 'insufficient-settings' ? insufficientSettingIn(fatal.detail) : undefined;
  if (setting !== undefined) return { kind: 'setting-too-low', setting, landing };
  if (fatal === undefined) return { kind: 'interrupted', reason: 'the server is gone without a word', landing };
  if (fatal.code === 'restore-command-failed') return { kind: 'interrupted', reason: await reasonOfMissingWal(watch, fatal), landing };
  if (recoveryFatals[fatal.code].mayPass) return { kind: 'interrupted', reason: fatal.message, landing };
  throw recoveryFailed(fatal, landing);
}

/** PostgreSQL only knows that its restore_command failed; the agent knows why. */
async function reasonOfMissingWal(watch: RecoveryWatch, fatal: RecoveryFatal): Promise<string> {
  const failure = await watch.walFailure();
  if (failure === undefined) return fatal.message;
  if (isErrorCode(failure.code) && lastingWalFailures.has(failure.code)) throw new WalkbackError(failure.code, failure.message);
  return `${fatal.message}: ${failure.message}`;
}

function recoveryFailed(fatal: RecoveryFatal, landing: Landing): WalkbackError {
  return new WalkbackError('RECOVERY_FAILED', `PostgreSQL gave up recovery (${fatal.code}). ${describeFatal(fatal)}`, {
    hint: recoveryFatals[fatal.code].next,
    facts: { reason: fatal.code, log: landing.logLines.slice(-10) },
  });
}

/** For the operator's eyes only: a server that does not answer yet is no trouble. */
async function reportProgress(watch: RecoveryWatch, step: ActivityStep): Promise<void> {
  try {
    await using connection = await connectServer({
      ...watch.server,
      connectTimeoutMs: progressTimeoutMs,
      statementTimeoutMs: progressTimeoutMs,
    });
    const { replayLsn } = await readRecoveryProgress(connection);
    if (replayLsn !== undefined) step.report({ replayedLsn: replayLsn });
  } catch (error) {
    step.report({ note: messageOf(error).slice(0, noteMaximumLength) });
  }
}
