/** What commands have in common: options, configuration, the client, and how a command ends. */
import type { Command } from 'commander';
import type { WalkbackClient } from '../client/walkback-client.ts';
import type { LoadedConfiguration } from '../config/load.ts';
import { WalkbackError } from '../domain/errors.ts';
import { createOutput, type Output } from './output.ts';

/** Options that every command takes. */
export interface CommonOptions {
  readonly config?: string;
  readonly json?: boolean;
}

/** The options of a command, with those of the program. */
export function optionsOf<T extends object>(command: Command): CommonOptions & T {
  return command.optsWithGlobals();
}

/** The output that the options ask for. */
export function outputOf(options: CommonOptions): Output {
  return createOutput({ json: options.json === true });
}

/** Reads the configuration. @throws WalkbackError INVALID_CONFIGURATION */
export async function configurationOf(options: CommonOptions): Promise<LoadedConfiguration> {
  const { loadConfiguration } = await import('../config/load.ts');
  return await loadConfiguration({
    ...(options.config === undefined ? {} : { file: options.config }),
    environment: process.env,
    workingDirectory: process.cwd(),
  });
}

/** Connects to Temporal as the configuration says, and closes the connection afterwards. @throws WalkbackError TEMPORAL_UNREACHABLE */
export async function withClient<T>(loaded: LoadedConfiguration, use: (client: WalkbackClient) => Promise<T>): Promise<T> {
  const { createWalkbackClient } = await import('../client/walkback-client.ts');
  const { profile, taskQueue } = loaded.configuration.temporal;
  await using client = await createWalkbackClient({ ...(profile === undefined ? {} : { profile }), taskQueue });
  return await use(client);
}

/** Aborted by the first SIGINT or SIGTERM; a second one ends the process at once. */
export function signalOfProcess(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort(endedBy(name)));
  return controller.signal;
}

function endedBy(signal: string): WalkbackError {
  return new WalkbackError('CANCELLED', `Ended by ${signal}.`, { hint: 'Start it again when ready.' });
}
