/** Decisions for a restore that waits for one: `promote`, `advance`, `retry`, `abort`. */
import type { Command } from 'commander';
import type { RestoreHandle } from '../../client/handles.ts';
import { parseRecoveryTarget } from '../../domain/recovery-target.ts';
import { type CommonOptions, optionsOf, outputOf } from '../context.ts';
import { withRestore } from '../restore-handle.ts';
import { answerReport, inBothTimes } from './restore.ts';

interface DecisionOptions extends CommonOptions {
  readonly reason?: string;
  readonly wait: boolean;
}

/** Adds the commands. */
export function addDecisionCommands(program: Command): void {
  decisionCommand(program, 'promote', 'a restore that is paused at its target, or asks after an early end')
    .description('end the wait: the restored cluster becomes one of its own')
    .option('--reason <text>', 'kept in the landing report')
    .addHelpText('after', '\nExample:\n  walkback promote restore/db-1/srv/shop-1157')
    .action(async (id: string, _options: object, command: Command) => {
      const options = optionsOf<DecisionOptions>(command);
      await decide(id, options, { text: `${id} is being promoted.`, send: (handle) => handle.promote(reasonOf(options)) });
    });
  decisionCommand(program, 'advance', 'a restore that is paused at its target')
    .description('go on to a later target on the same directory, without fetching the base backup again')
    .requiredOption('--to <target>', 'as of `walkback restore`, later than where it is paused')
    .option('--exclusive', 'as of `walkback restore`')
    .option('--reason <text>', 'kept in the landing report')
    .addHelpText('after', '\nExample:\n  walkback advance restore/db-1/srv/shop-1157 --to 2026-11-22T11:57:05Z --no-wait')
    .action(async (id: string, _options: object, command: Command) => {
      const options = optionsOf<DecisionOptions & { readonly to: string; readonly exclusive?: boolean }>(command);
      const target = parseRecoveryTarget(options.to, options.exclusive === true ? { inclusive: false } : {});
      const text = `${id} goes on to ${inBothTimes(target)}.`;
      await decide(id, options, { text, send: (handle) => handle.advance({ target, ...reasonOf(options) }) });
    });
  decisionCommand(program, 'retry', 'a restore that asks after an early end')
    .description('look for WAL that was archived meanwhile, and try the same target again')
    .option('--reason <text>', 'kept in the landing report')
    .addHelpText('after', '\nExample:\n  walkback retry restore/db-1/srv/shop-1157 --reason "the missing segments were copied back"')
    .action(async (id: string, _options: object, command: Command) => {
      const options = optionsOf<DecisionOptions>(command);
      await decide(id, options, { text: `${id} tries its target again.`, send: (handle) => handle.retry(reasonOf(options)) });
    });
  addAbort(program);
}

function addAbort(program: Command): void {
  program
    .command('abort')
    .argument('<id>', 'id of a restore that waits for a decision')
    .description('give a waiting restore up: PostgreSQL is stopped, the directory kept')
    .requiredOption('--reason <text>', 'kept in the error that the restore ends with')
    .addHelpText('after', '\nExample:\n  walkback abort restore/db-1/srv/shop-1157 --reason "the wrong instant"')
    .action(async (id: string, _options: object, command: Command) => {
      const options = optionsOf<CommonOptions & { readonly reason: string }>(command);
      await decide(id, { ...options, wait: false }, { text: `${id} is being aborted.`, send: (handle) => handle.abort(options) });
    });
}

function decisionCommand(program: Command, name: string, whose: string): Command {
  return program.command(name).argument('<id>', `id of ${whose}`).option('--no-wait', 'do not wait for the landing');
}

async function decide(
  id: string,
  options: DecisionOptions,
  decision: { readonly text: string; readonly send: (handle: RestoreHandle) => Promise<unknown> },
): Promise<void> {
  const output = outputOf(options);
  await withRestore(id, options, async (handle) => {
    await decision.send(handle);
    if (!options.wait) return output.answer({ ok: true, workflowId: id }, decision.text);
    output.note(decision.text);
    await answerReport(handle, output);
  });
}

function reasonOf({ reason }: DecisionOptions): { readonly reason?: string } {
  return reason === undefined ? {} : { reason };
}
