/** `undo`: brings the source back that a restore retired. */
import { type Command, Option } from 'commander';
import type { UndoReport } from '../../domain/undo-request.ts';
import { type CommonOptions, configurationOf, optionsOf, outputOf, withClient } from '../context.ts';
import { follow, noteMissingWorker } from '../follow.ts';

interface UndoOptions extends CommonOptions {
  readonly child: 'stop' | 'keep';
  readonly cluster?: string;
  readonly wait: boolean;
}

/** Adds the command. */
export function addUndoCommand(program: Command): void {
  program
    .command('undo')
    .argument('<id>', 'id of a restore with --source stop --retire HOURS')
    .description('bring the source back that a restore retired; nothing is removed')
    .addOption(
      new Option('--child <what>', 'stop the restored cluster first, or keep it running on another port')
        .choices(['stop', 'keep'])
        .default('stop'),
    )
    .option('--cluster <source>', 'the source of a restore that has no landing report: one that was terminated')
    .option('--no-wait', 'only start it, and print its id')
    .addHelpText('after', '\nExample:\n  walkback undo restore/db-1/srv/shop-1157')
    .action(async (id: string, _options: object, command: Command) => undo(id, optionsOf<UndoOptions>(command)));
}

async function undo(restoreId: string, options: UndoOptions): Promise<void> {
  const output = outputOf(options);
  const { child, cluster } = options;
  await withClient(await configurationOf(options), async (client) => {
    const handle = await client.startUndo({ restoreId, child, ...(cluster === undefined ? {} : { cluster }) });
    await noteMissingWorker(client, output);
    if (!options.wait) return output.answer({ ok: true, workflowId: handle.workflowId }, handle.workflowId);
    const report = await follow(handle, output);
    output.answer({ ok: true, workflowId: handle.workflowId, ...report }, renderUndo(report));
  });
}

function renderUndo({ cluster, host, dataDirectory, child }: UndoReport): string {
  const childText = child === null ? '' : ` ${child.name} ${child.isStopped ? 'is stopped, its directory kept' : 'runs on beside it'}.`;
  return `${cluster} runs again on ${host}, in ${dataDirectory}.${childText}`;
}
