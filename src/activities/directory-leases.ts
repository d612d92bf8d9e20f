/**
 * One writer a data directory. After a heartbeat timeout Temporal starts the next attempt while the old one may still run in this process: the
 * new attempt stops the old one and waits for its end before it touches a file (temporal.md, section 2, "Fencing is yours"). One that wakes up
 * late, when a later attempt, a later step or a later run has had the directory, does not get it any more.
 */
import { WalkbackError } from '../domain/errors.ts';

/** How long an old attempt may take to stop. */
const takeoverDefaultMs = 60_000;
/** Directories of which it is remembered who had them last, and runs of each: more than a host restores in the life of an agent. */
const rememberedMaximumCount = 1000;

/** Who wants a directory: `RUN/STEP/ATTEMPT`, steps of a run counted up as Temporal does (its activity ids). */
interface Attempt {
  readonly run: string;
  readonly step: number;
  readonly attempt: number;
}

interface LastHolder extends Attempt {
  /** Runs that had it before. */
  readonly formerRuns: ReadonlySet<string>;
}

interface Lease {
  readonly attemptId: string;
  readonly controller: AbortController;
  readonly ended: Promise<void>;
}

/** The leases of one agent process. */
export class DirectoryLeases {
  readonly #leases = new Map<string, Lease>();
  readonly #lastHolders = new Map<string, LastHolder>();
  readonly #takeoverTimeoutMs: number;

  constructor(options: { /** Default one minute. */ readonly takeoverTimeoutMs?: number } = {}) {
    this.#takeoverTimeoutMs = options.takeoverTimeoutMs ?? takeoverDefaultMs;
  }

  /**
   * Runs the body as the only one on the directory; its signal is aborted when a later attempt takes over.
   * @throws WalkbackError DATA_DIRECTORY_IN_USE when the earlier attempt does not stop in time, or this one is itself the earlier
   */
  async run<T>(
    directory: string,
    options: { readonly attemptId: string; readonly signal: AbortSignal },
    body: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    this.#assertNotLate(directory, options.attemptId);
    // Nothing is awaited between the last look and the lease: of two that come at once, the second meets the first.
    for (let current = this.#leases.get(directory); current !== undefined; current = this.#leases.get(directory)) {
      await this.#takeOver(current, directory, options.attemptId);
      this.#assertNotLate(directory, options.attemptId);
    }
    options.signal.throwIfAborted();
    this.#remember(directory, options.attemptId);
    const controller = new AbortController();
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const lease: Lease = { attemptId: options.attemptId, controller, ended };
    this.#leases.set(directory, lease);
    try {
      return await body(AbortSignal.any([controller.signal, options.signal]));
    } finally {
      if (this.#leases.get(directory) === lease) this.#leases.delete(directory);
      resolve();
    }
  }

  #assertNotLate(directory: string, attemptId: string): void {
    const last = this.#lastHolders.get(directory);
    const asking = attemptOf(attemptId);
    if (last === undefined || asking === undefined || !isBefore(asking, last)) return;
    throw new WalkbackError('DATA_DIRECTORY_IN_USE', `The attempt ${attemptId} comes late: a later one has had ${directory} since.`, {
      facts: { directory, attempt: attemptId },
    });
  }

  #remember(directory: string, attemptId: string): void {
    const asking = attemptOf(attemptId);
    if (asking === undefined) return;
    const last = this.#lastHolders.get(directory);
    const formerRuns = new Set(last?.formerRuns);
    if (last !== undefined && last.run !== asking.run) formerRuns.add(last.run);
    const [oldestRun] = formerRuns;
    if (formerRuns.size > rememberedMaximumCount && oldestRun !== undefined) formerRuns.delete(oldestRun);
    this.#lastHolders.delete(directory);
    this.#lastHolders.set(directory, { ...asking, formerRuns });
    const [oldest] = this.#lastHolders.keys();
    if (this.#lastHolders.size > rememberedMaximumCount && oldest !== undefined) this.#lastHolders.delete(oldest);
  }

  async #takeOver(current: Lease, directory: string, attemptId: string): Promise<void> {
    current.controller.abort(new WalkbackError('DATA_DIRECTORY_IN_USE', `A later attempt, ${attemptId}, took ${directory} over.`));
    const { promise: late, resolve: onLate } = Promise.withResolvers<'late'>();
    const timer = setTimeout(() => onLate('late'), this.#takeoverTimeoutMs);
    const outcome = await Promise.race([current.ended, late]);
    clearTimeout(timer);
    if (outcome === 'late') {
      throw new WalkbackError(
        'DATA_DIRECTORY_IN_USE',
        `The attempt ${current.attemptId} still works on ${directory} after ${this.#takeoverTimeoutMs / 1000} s.`,
        { facts: { directory } },
      );
    }
  }
}

/** Undefined for an id of another form: then the order of arrival has to do. */
function attemptOf(attemptId: string): Attempt | undefined {
  const [, run, step, attempt] = /^(.+)\/(\d+)\/(\d+)$/.exec(attemptId) ?? [];
  return run === undefined ? undefined : { run, step: Number(step), attempt: Number(attempt) };
}

function isBefore(asking: Attempt, last: LastHolder): boolean {
  if (asking.run !== last.run) return last.formerRuns.has(asking.run);
  return asking.step < last.step || (asking.step === last.step && asking.attempt < last.attempt);
}
