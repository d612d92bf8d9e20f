/** Follows an operation until it ends: a line that is kept up to date on a terminal, one line a phase on a pipe. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ActivityProgress } from '../activities/types.ts';
import type { OperationHandle } from '../client/handles.ts';
import type { WalkbackClient } from '../client/walkback-client.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { StepReport } from '../domain/landing-report.ts';
import { formatBytes, formatDuration, type Output } from './output.ts';

/** A step that is done: `  plan: 0.2 s (attempt 2)`. */
export function renderStep({ name, milliseconds, attempts }: StepReport): string {
  return `  ${name}: ${formatDuration(milliseconds)}${attempts > 1 ? ` (attempt ${attempts})` : ''}`;
}

interface Followed {
  readonly phase: string;
  readonly summary: string;
  readonly waitingFor?: string | null;
  readonly steps: readonly StepReport[];
}

const pollIntervalMs = 500;

/** Waits for an operation's result and shows its progress meanwhile. A worker that is away for a while does not end the wait. */
export async function follow<Progress extends Followed, Result extends Pick<Followed, 'steps'>>(
  handle: Pick<OperationHandle<Progress, Result>, 'result' | 'progress'>,
  output: Output,
): Promise<Result> {
  const ended = new AbortController();
  const shown = new PhaseLines(output);
  const result = handle.result().finally(() => ended.abort());
  const [outcome] = await Promise.allSettled([result, showProgress(handle, shown, ended.signal)]);
  output.progress('');
  if (outcome.status === 'rejected') throw outcome.reason;
  // The last steps end between two looks.
  shown.tellSteps(outcome.value.steps);
  return outcome.value;
}

/** Somebody who waits is told when nobody is there to work. */
export async function noteMissingWorker(client: Pick<WalkbackClient, 'hasWorker'>, output: Output): Promise<void> {
  if (await client.hasWorker()) return;
  output.note('No worker answers yet: the operation waits in Temporal until one does. Start one with `walkback worker`.');
}

async function showProgress<Progress extends Followed>(
  handle: Pick<OperationHandle<Progress, unknown>, 'progress'>,
  shown: PhaseLines,
  ended: AbortSignal,
): Promise<void> {
  while (!ended.aborted) {
    try {
      shown.show(await handle.progress());
    } catch (error) {
      // The result decides how the operation ends; progress is only told when it can be had.
      if (!(error instanceof WalkbackError)) throw error;
    }
    await delay(pollIntervalMs, undefined, { signal: ended }).catch(() => undefined);
  }
}

/** Remembers which phases were told, and how fast bytes move. */
class PhaseLines {
  readonly #output: Output;
  #stepsTold = 0;
  #phase = '';
  readonly #rate = new ByteRate();

  constructor(output: Output) {
    this.#output = output;
  }

  /** One line for each step that was not told yet. */
  tellSteps(steps: readonly StepReport[]): void {
    for (const step of steps.slice(this.#stepsTold)) this.#output.note(renderStep(step));
    this.#stepsTold = Math.max(this.#stepsTold, steps.length);
  }

  show(progress: Followed & { readonly activity: ActivityProgress | undefined }): void {
    this.tellSteps(progress.steps);
    if (progress.phase !== this.#phase && progress.waitingFor != null)
      this.#output.note(`Waiting for a decision: ${progress.waitingFor}. ${progress.summary}.`);
    this.#phase = progress.phase;
    this.#output.progress(`${progress.phase}: ${progress.summary}${this.#bytes(progress.activity)}`);
  }

  #bytes(activity: ActivityProgress | undefined): string {
    if (activity?.replayedLsn !== undefined) return `, replayed to ${activity.replayedLsn}`;
    const { bytesDone, bytesTotal } = activity ?? {};
    if (bytesDone === undefined) return '';
    const bytesPerSecond = this.#rate.at(bytesDone, performance.now());
    const total = bytesTotal === undefined ? '' : ` of ${formatBytes(bytesTotal)}`;
    const rate = bytesPerSecond === undefined ? '' : `, ${formatBytes(Math.round(bytesPerSecond))}/s`;
    return `, ${formatBytes(bytesDone)}${total}${rate}`;
  }
}

/** Heartbeats come every few seconds; without more bytes for this long nothing moves. */
const stalledAfterMs = 10_000;

/** How fast a count of bytes grows, from one change of it to the next. */
class ByteRate {
  #last: { readonly bytes: number; readonly atMs: number; readonly bytesPerSecond: number | undefined } | undefined;

  /** @returns undefined as long as only one count was seen, and again when the count starts anew with another step */
  at(bytes: number, nowMs: number): number | undefined {
    const last = this.#last;
    if (last === undefined || bytes < last.bytes) this.#last = { bytes, atMs: nowMs, bytesPerSecond: undefined };
    else if (bytes > last.bytes && nowMs > last.atMs)
      this.#last = { bytes, atMs: nowMs, bytesPerSecond: ((bytes - last.bytes) * 1000) / (nowMs - last.atMs) };
    else if (nowMs - last.atMs > stalledAfterMs) return 0;
    return this.#last?.bytesPerSecond;
  }
}
