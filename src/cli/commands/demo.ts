/** `walkback demo`: the main job on this machine, with real parts. */
import type { Command } from 'commander';
import { optionsOf, outputOf, signalOfProcess } from '../context.ts';

/** Adds `demo`. */
export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('lose a table and get it back: real Temporal, real PostgreSQL, real S3 requests, all on this machine')
    .option('--keep', 'leave everything up afterwards, until Ctrl-C', false)
    .addHelpText('after', '\nExample:\n  walkback demo --keep')
    .action(async (_options: object, command: Command) => {
      const options = optionsOf<{ keep: boolean }>(command);
      const { runDemo } = await import('../../demo/demo.ts');
      await runDemo({ keep: options.keep, output: outputOf(options), signal: signalOfProcess() });
    });
}
