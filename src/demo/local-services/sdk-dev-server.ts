/** The Temporal dev server as the SDK brings it: downloaded from Temporal's site. The last resort where no CLI is installed. */
import { WalkbackError, messageOf } from '../../domain/errors.ts';
import type { DevServerPorts, TemporalDevServer } from './temporal-server.ts';

/** Where the SDK takes the program from. */
export type SdkExecutable = { readonly type: 'cached-download' } | { readonly type: 'existing-path'; readonly path: string };

/**
 * Starts a server by way of `@temporalio/testing`, a development dependency that only a clone of the repository has.
 *
 * @throws WalkbackError COMMAND_FAILED when the package or the download is not to be had.
 */
export async function startSdkDevServer(
  { port, uiPort }: DevServerPorts,
  extraArguments: readonly string[],
  executable: SdkExecutable = { type: 'cached-download' },
): Promise<TemporalDevServer> {
  const ui = uiPort === false ? { ui: false } : { ui: true, uiPort };
  try {
    const { TestWorkflowEnvironment } = await import('@temporalio/testing');
    const server = { executable, ip: '127.0.0.1', port, ...ui, extraArgs: [...extraArguments] };
    const environment = await TestWorkflowEnvironment.createLocal({ server });
    let closing: Promise<void> | undefined;
    const close = (): Promise<void> => (closing ??= environment.teardown());
    return {
      address: environment.address,
      uiUrl: uiPort === false ? undefined : `http://127.0.0.1:${uiPort}`,
      namespace: environment.namespace ?? 'default',
      pid: undefined,
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    throw new WalkbackError('COMMAND_FAILED', `The Temporal SDK could not bring its dev server: ${messageOf(error)}`, {
      hint: 'Install the Temporal CLI, or run `node scripts/setup.mjs demo`, or name the program in WALKBACK_TEMPORAL_BIN.',
      cause: error,
    });
  }
}
