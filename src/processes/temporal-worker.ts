/** A Temporal worker of ours: connects for as long as it takes, runs until it is told to stop. */
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import { messageOf } from '../domain/errors.ts';
import { loadTemporalOptions, type TemporalSettings } from '../temporal/connection.ts';
import type { ProcessLog } from './log.ts';
import { walkbackVersion } from './version.ts';

/** How the worker runs. */
export interface TemporalWorkerOptions {
  readonly temporal: TemporalSettings;
  readonly worker: Omit<WorkerOptions, 'connection' | 'namespace'>;
  readonly log: ProcessLog;
  /** Ends the worker: what runs is told to stop first. */
  readonly signal: AbortSignal;
  /** Done before the first task is taken; fails when Temporal does not answer. */
  readonly prepare?: () => Promise<void>;
  /** Called each time the worker polls. */
  readonly onReady: () => void;
}

const reconnectDelayFirstMs = 200;
const reconnectDelayMaximumMs = 10_000;
/** Cancellation reaches an activity with the answer to a heartbeat, and those are sent at most this often. */
const heartbeatThrottleMs = 2000;
/** How long running activities may take to notice that the worker stops. */
const shutdownForceMs = 30_000;

/**
 * Runs until the signal. Temporal being down is no reason to end: `NativeConnection` gives up at once, so the loop here tries again.
 */
export async function runTemporalWorker(options: TemporalWorkerOptions): Promise<void> {
  let delayMs = reconnectDelayFirstMs;
  while (!options.signal.aborted) {
    try {
      await runOnce(options, () => {
        delayMs = reconnectDelayFirstMs;
      });
    } catch (error) {
      if (options.signal.aborted) return;
      options.log.warn(
        { taskQueue: options.worker.taskQueue, reason: messageOf(error), retryInMs: delayMs },
        'Temporal cannot be worked for; trying again.',
      );
      await delay(delayMs, undefined, { signal: options.signal }).catch(() => undefined);
      delayMs = Math.min(delayMs * 2, reconnectDelayMaximumMs);
    }
  }
}

async function runOnce(options: TemporalWorkerOptions, onConnected: () => void): Promise<void> {
  const { namespace, connectionOptions } = loadTemporalOptions(options.temporal);
  const connection = await NativeConnection.connect(connectionOptions);
  try {
    await options.prepare?.();
    const worker = await Worker.create({
      ...options.worker,
      connection,
      namespace,
      // The Temporal UI shows it on every step: which version did it.
      identity: `walkback ${walkbackVersion} ${process.pid}@${hostname()}`,
      maxHeartbeatThrottleInterval: heartbeatThrottleMs,
      defaultHeartbeatThrottleInterval: heartbeatThrottleMs,
      shutdownForceTime: shutdownForceMs,
    });
    const stop = () => {
      if (worker.getState() === 'RUNNING') worker.shutdown();
    };
    options.signal.addEventListener('abort', stop, { once: true });
    onConnected();
    const running = worker.run();
    options.onReady();
    if (options.signal.aborted) stop();
    await running.finally(() => options.signal.removeEventListener('abort', stop));
  } finally {
    await connection.close();
  }
}
