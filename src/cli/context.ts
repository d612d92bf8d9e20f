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

/** npm hands Ctrl-C on to a process that has got it from the terminal too: what comes within this time is the same key stroke. */
const sameKeyStrokeMs = 1000;
const interruptedExitCode = 130;

/** Aborted by the first SIGINT or SIGTERM; a later one ends the process at once. */
export function signalOfProcess(): AbortSignal {
  const controller = new AbortController();
  let firstAtMs: number | undefined;
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      firstAtMs ??= performance.now();
      if (performance.now() - firstAtMs > sameKeyStrokeMs) process.exit(interruptedExitCode);
      controller.abort(new WalkbackError('CANCELLED', `Ended by ${name}.`));
    });
  }
  return controller.signal;
}
