/** One Temporal server and one workflow bundle for a whole suite. */
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { DefaultLogger, bundleWorkflowCode } from '@temporalio/worker';
import type { SearchAttributeType } from '@temporalio/common';
import { startTemporalDevServer } from '../../src/demo/local-services/temporal-server.ts';
import type { TemporalDevServer } from '../../src/demo/local-services/temporal-server.ts';
import { temporaryDirectory } from './temp.ts';

/** What the tests of a suite share; read it with vitest's `inject('temporal')`. */
export interface SuiteTemporal {
  readonly address: string;
  readonly namespace: string;
  /** Given to `Worker.create` as `workflowBundle: { codePath }`. */
  readonly workflowBundlePath: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    readonly temporal: SuiteTemporal;
  }
}

/** A suite's server while it runs. */
export interface RunningSuiteTemporal extends AsyncDisposable {
  readonly shared: SuiteTemporal;
}

/** Starts the server and bundles `src/workflows`, side by side. */
export async function startSuiteTemporal(searchAttributes: Readonly<Record<string, SearchAttributeType>>): Promise<RunningSuiteTemporal> {
  const bundling = bundleWorkflows();
  const [server] = await Promise.allSettled([startTemporalDevServer({ uiPort: false, searchAttributes }), bundling]);
  const close = async (): Promise<void> => {
    if (server.status === 'fulfilled') await server.value.close();
    await bundling.then((bundle) => bundle[Symbol.asyncDispose]()).catch(() => undefined);
  };
  try {
    const { path: workflowBundlePath } = await bundling;
    const { address, namespace } = valueOf(server);
    return { shared: { address, namespace, workflowBundlePath }, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

function valueOf(server: PromiseSettledResult<TemporalDevServer>): TemporalDevServer {
  if (server.status === 'rejected') throw server.reason;
  return server.value;
}

/** A bundle in a file, for workers that are started in great number (`WALKBACK_WORKFLOW_BUNDLE`, src/processes/worker.ts). */
export interface WorkflowBundle extends AsyncDisposable {
  readonly path: string;
}

/** Bundles `src/workflows`, which takes seconds. */
export async function bundleWorkflows(): Promise<WorkflowBundle> {
  const workflowsPath = fileURLToPath(new URL('../../src/workflows/index.ts', import.meta.url));
  const { code } = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('WARN') });
  const directory = await temporaryDirectory('bundle');
  const path = directory.join('workflows.js');
  await writeFile(path, code);
  return { path, [Symbol.asyncDispose]: () => directory.remove() };
}
