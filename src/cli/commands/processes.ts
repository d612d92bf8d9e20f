/** The long-running processes. */
import type { Command } from 'commander';
import type { RunProcessOptions } from '../../processes/worker.ts';
import { walkbackVersion } from '../../processes/version.ts';
import { configurationOf, optionsOf, outputOf, signalOfProcess } from '../context.ts';

/** Adds `worker` and `agent`. */
export function addProcessCommands(program: Command): void {
  program
    .command('worker')
    .description('run workflows, and activities that need only the archive; anywhere, several if you like')
    .addHelpText('after', '\nExample:\n  TEMPORAL_ADDRESS=temporal.internal:7233 walkback worker --config /etc/walkback/walkback.yaml')
    .action(async (_options: object, command: Command) => {
      const { runWorker } = await import('../../processes/worker.ts');
      await runProcess('worker', command, runWorker);
    });
  program
    .command('agent')
    .description('archive and fetch WAL on a database host, and do the steps of restores there; as the user that runs PostgreSQL')
    .addHelpText('after', '\nExample:\n  sudo -u postgres walkback agent --config /etc/walkback/walkback.yaml')
    .action(async (_options: object, command: Command) => {
      const { runAgent } = await import('../../processes/agent.ts');
      await runProcess('agent', command, runAgent);
    });
}

async function runProcess(name: string, command: Command, run: (options: RunProcessOptions) => Promise<void>): Promise<void> {
  const options = optionsOf(command);
  const output = outputOf(options);
  const loaded = await configurationOf(options);
  const { openProcessLog } = await import('../../processes/log.ts');
  const log = openProcessLog(loaded.configuration.logging, `walkback-${name}`);
  await run({
    loaded,
    log,
    signal: signalOfProcess(),
    onReady: () => output.note(`walkback ${name} is ready, version ${walkbackVersion}`),
  });
}
