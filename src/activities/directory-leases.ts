/**
 * One writer a data directory. After a heartbeat timeout Temporal starts the next attempt while the old one may still run in this process: the
 * new attempt stops the old one and waits for its end before it touches a file (temporal.md, section 2, "Fencing is yours").
 */
import { WalkbackError } from '../domain/errors.ts';

/** How long an old attempt may take to stop. */
const takeoverTimeoutMs = 60_000;

interface Lease {
  readonly attemptId: string;
  readonly controller: AbortController;
  readonly ended: Promise<void>;
}

/** The leases of one agent process. */
export class DirectoryLeases {
  readonly #leases = new Map<string, Lease>();

  /**
   * Runs the body as the only one on the directory; its signal is aborted when a later attempt takes over.
   * @throws WalkbackError DATA_DIRECTORY_IN_USE when the earlier attempt does not stop in time
   */
  async run<T>(
    directory: string,
    options: { readonly attemptId: string; readonly signal: AbortSignal },
    body: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    await this.#takeOver(directory, options.attemptId);
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

  async #takeOver(directory: string, attemptId: string): Promise<void> {
    const current = this.#leases.get(directory);
    if (current === undefined) return;
    current.controller.abort(new WalkbackError('DATA_DIRECTORY_IN_USE', `A later attempt, ${attemptId}, took ${directory} over.`));
    const { promise: late, resolve: onLate } = Promise.withResolvers<'late'>();
    const timer = setTimeout(() => onLate('late'), takeoverTimeoutMs);
    const outcome = await Promise.race([current.ended, late]);
    clearTimeout(timer);
    if (outcome === 'late') {
      throw new WalkbackError(
        'DATA_DIRECTORY_IN_USE',
        `The attempt ${current.attemptId} still works on ${directory} after ${takeoverTimeoutMs / 1000} s.`,
        { facts: { directory } },
      );
    }
    await this.#takeOver(directory, attemptId);
  }
}
