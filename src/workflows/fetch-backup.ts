/** Fetches the base backup; when it turns out to be damaged and the request allows it, the next older one. */
import type { RestoreJob } from '../activities/types.ts';
import { type ErrorCode, WalkbackError } from '../domain/errors.ts';
import type { DamagedBackup } from '../domain/landing-report.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import type { hostActivities } from './activity-options.ts';
import { walkbackErrorOf } from './failures.ts';
import type { Goal } from './recover-to-target.ts';
import type { RestoreSteps } from './restore-steps.ts';

/** What fetching needs. */
interface FetchContext {
  readonly host: ReturnType<typeof hostActivities>;
  readonly steps: RestoreSteps;
  readonly request: CompleteRestoreRequest;
  /** Plans to the same target without these backups and what builds on them, and proves the WAL. */
  readonly planWithout: (damaged: readonly DamagedBackup[]) => Promise<Goal>;
}

/** What was brought. */
interface Fetched {
  /** By the backup that was brought in the end. */
  readonly goal: Goal;
  readonly fetched: { readonly bytes: number; readonly parts: number; readonly partsAlreadyFetched: number };
  /** Backups that were given up. */
  readonly damagedBackups: readonly DamagedBackup[];
}

/** More damaged backups in a row than a person would let pass unseen. */
const olderBackupsMaximum = 10;
/** What says that the archive does not hold the backup as it was written: an object is missing, or its bytes are others. */
const damageCodes: ReadonlySet<ErrorCode> = new Set(['OBJECT_DAMAGED', 'NOT_FOUND', 'DECRYPTION_FAILED']);

/** Fetches. @throws WalkbackError OBJECT_DAMAGED and the like naming the key, when no older backup may be taken; NO_BACKUP when there is none */
export async function fetchBackup(context: FetchContext, first: Goal): Promise<Fetched> {
  const { host, steps, request, planWithout } = context;
  const damagedBackups: DamagedBackup[] = [];
  for (let goal = first; ;) {
    const { job } = goal;
    const { name } = job.plan.backup;
    // Those whose documents are damaged were given up when it was planned.
    damagedBackups.push(...(job.plan.givenUp ?? []));
    try {
      const fetched = await steps.run('fetch-base-backup', `Fetch ${name} to ${request.host}`, (summary) =>
        host.fetchBaseBackup(summary, job),
      );
      return { goal, fetched, damagedBackups };
    } catch (error) {
      const damage = damageOf(error, { job, request, steps, tried: damagedBackups.length });
      damagedBackups.push(damage);
      steps.enter('older-backup', `${damage.reason} Going back to an older base backup, as it was allowed.`);
      await steps.run('older-backup', `Clear ${job.dataDirectory} of what was fetched of ${name}`, (summary) =>
        host.clearDataDirectory(summary, job),
      );
      goal = await planWithout(damagedBackups).catch(explainingDamage(steps, damagedBackups));
    }
  }
}

/** @throws the error, when it is no damage or no older backup may be taken; then it says how it could */
function damageOf(
  error: unknown,
  context: { readonly job: RestoreJob; readonly request: CompleteRestoreRequest; readonly steps: RestoreSteps; readonly tried: number },
): DamagedBackup {
  const { job, request, steps, tried } = context;
  if (steps.world.isCancellation(error)) throw error;
  const known = walkbackErrorOf(error, request.host);
  if (!damageCodes.has(known.code)) throw error;
  const backup = job.plan.backup.name;
  const key = typeof known.facts['key'] === 'string' ? known.facts['key'] : null;
  if (request.allowOlderBackup !== true || tried >= olderBackupsMaximum) {
    const hint = `${known.hint} With --allow-older-backup a restore takes the next older base backup by itself, and replays more WAL.`;
    throw new WalkbackError(known.code, known.message, { hint, facts: { ...known.facts, backup } });
  }
  return { backup, key, reason: known.message };
}

/** That no older backup fits is told with why it was looked for. */
function explainingDamage(steps: RestoreSteps, damaged: readonly DamagedBackup[]): (error: unknown) => never {
  return (error) => {
    if (steps.world.isCancellation(error)) throw error;
    const { code, message, hint, facts } = walkbackErrorOf(error);
    if (code !== 'NO_BACKUP' && code !== 'NO_BACKUP_BEFORE_TARGET') throw error;
    const reasons = damaged.map(({ backup, reason }) => `${backup} was given up: ${reason}`);
    throw new WalkbackError(code, `${reasons.join(' ')} Without it: ${message}`, { hint, facts });
  };
}
