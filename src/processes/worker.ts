/** `walkback worker`: workflows, and activities that need only the archive. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createControlActivities } from '../activities/control-activities.ts';
import type { LoadedConfiguration } from '../config/load.ts';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { type Connection, WorkflowNotFoundError } from '@temporalio/client';
import { connectTemporal, type TemporalSettings } from '../temporal/connection.ts';
import { registerSearchAttributes } from '../temporal/search-attributes.ts';
import type { ProcessLog } from './log.ts';
import { controlArchives } from './archives.ts';
import { openCipher } from './cipher.ts';
import { OpenStores } from './stores.ts';
import { runTemporalWorker } from './temporal-worker.ts';

/** How the process runs. */
export interface RunProcessOptions {
  readonly loaded: LoadedConfiguration;
  readonly log: ProcessLog;
  readonly signal: AbortSignal;
  /** Called once, when the process takes work. */
  readonly onReady: () => void;
}

const cachedWorkflowsMaximum = 500;

/** Runs until the signal. */
export async function runWorker({ loaded, log, signal, onReady }: RunProcessOptions): Promise<void> {
  const { configuration, secrets } = loaded;
  const cipher = await openCipher(loaded);
  await using stores = new OpenStores(configuration, secrets);
  const { profile } = configuration.temporal;
  const temporal: TemporalSettings = profile === undefined ? {} : { profile };
  const activities = createControlActivities({
    ...controlArchives(configuration, stores),
    isWorkflowRunning: (workflowId) => isWorkflowRunning(temporal, workflowId),
    cipher,
  });
  await runTemporalWorker({
    temporal,
    worker: { taskQueue: configuration.temporal.taskQueue, activities, maxCachedWorkflows: cachedWorkflowsMaximum, ...workflowSource() },
    log,
    signal,
    prepare: () => prepareNamespace(temporal, log),
    onReady,
  });
}

/** An execution in any of these is over; a state that we do not know is taken for running. */
const endedStates: ReadonlySet<string> = new Set(['COMPLETED', 'FAILED', 'CANCELLED', 'TERMINATED', 'TIMED_OUT', 'CONTINUED_AS_NEW']);

/** A connection for the question: it is asked once in a retention run. */
async function isWorkflowRunning(temporal: TemporalSettings, workflowId: string): Promise<boolean> {
  await using connected = await connectTemporal(temporal);
  try {
    const { status } = await connected.client.workflow.getHandle(workflowId).describe();
    return !endedStates.has(status.name);
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw new WalkbackError('TEMPORAL_UNREACHABLE', `Temporal does not say whether ${workflowId} runs: ${messageOf(error)}.`, {
      cause: error,
    });
  }
}

/** A server that does not let us register them may have them registered by hand; starting a workflow then says which is missing. */
async function prepareNamespace(temporal: TemporalSettings, log: ProcessLog): Promise<void> {
  await using connected = await connectTemporal(temporal);
  try {
    await registerSearchAttributes(connected.client.connection as Connection, connected.namespace);
  } catch (error) {
    log.warn({ reason: messageOf(error) }, 'The search attributes could not be registered.');
  }
}

/** Names a bundle of the source tree that was made before: bundling takes seconds, and tests start many workers. */
const bundleVariable = 'WALKBACK_WORKFLOW_BUNDLE';

/** A published package carries a bundle made by its build; the source tree is bundled at the start. */
function workflowSource(): { workflowBundle: { codePath: string } } | { workflowsPath: string } {
  const bundle = process.env[bundleVariable] ?? fileURLToPath(new URL('../workflow-bundle.js', import.meta.url));
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return existsSync(bundle)
    ? { workflowBundle: { codePath: bundle } }
    : { workflowsPath: fileURLToPath(new URL(`../workflows/index.${extension}`, import.meta.url)) };
}
