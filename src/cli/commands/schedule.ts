/** `walkback schedule …`: base backups by the clock. */
import type { Command } from 'commander';
import type { BackupSchedule, BackupSchedules } from '../../client/schedules.ts';
import type { LoadedConfiguration } from '../../config/load.ts';
import { type CommonOptions, configurationOf, optionsOf, outputOf, withClient } from '../context.ts';
import { renderTable } from '../output.ts';

/** Adds the commands. */
export function addScheduleCommands(program: Command): void {
  const schedule = program.command('schedule').description('base backups by the clock, kept by Temporal');
  schedule
    .command('set')
    .argument('<cluster>')
    .description('make or replace the schedule of a cluster; a pause is kept')
    .requiredOption('--cron <fields>', 'five fields, in UTC')
    .addHelpText('after', '\nExample:\n  walkback schedule set shop --cron "0 2 * * *"')
    .action(async (cluster: string, _options: object, command: Command) => {
      const options = optionsOf<{ cron: string }>(command);
      const { clusterOf } = await import('../../config/configuration.ts');
      await withSchedules(options, async (schedules, { configuration }) => {
        // Otherwise the mistake would come to light at the first run, in the middle of the night.
        clusterOf(configuration, cluster);
        const set = await schedules.set({ cluster, cron: options.cron });
        return [
          { ok: true, schedule: set },
          `Base backups of ${cluster} are taken at "${options.cron}" (UTC); the next at ${set.nextRun ?? 'no time'}.`,
        ];
      });
    });
  schedule
    .command('list')
    .description('list the schedules')
    .addHelpText('after', '\nExample:\n  walkback schedule list --json')
    .action(async (_options: object, command: Command) => {
      await withSchedules(optionsOf(command), async (schedules) => {
        const all = await schedules.list();
        return [{ ok: true, schedules: all }, all.length === 0 ? 'There is no schedule.' : renderSchedules(all)];
      });
    });
  addStateCommands(schedule);
}

function addStateCommands(schedule: Command): void {
  schedule
    .command('pause')
    .argument('<cluster>')
    .description('take no backups by the clock until resumed')
    .option('--note <text>', 'why', 'paused with walkback schedule pause')
    .addHelpText('after', '\nExample:\n  walkback schedule pause shop --note "migration until Friday"')
    .action(async (cluster: string, _options: object, command: Command) => {
      const options = optionsOf<{ note: string }>(command);
      await changeState(options, cluster, { past: 'paused', change: (schedules) => schedules.pause(cluster, options.note) });
    });
  const others = [
    {
      name: 'resume',
      description: 'end a pause',
      past: 'resumed',
      change: (schedules: BackupSchedules, cluster: string) => schedules.resume(cluster),
    },
    {
      name: 'trigger',
      description: 'take a backup now, unless one runs',
      past: 'triggered',
      change: (schedules: BackupSchedules, cluster: string) => schedules.trigger(cluster),
    },
    {
      name: 'delete',
      description: 'remove the schedule; backups stay',
      past: 'deleted',
      change: (schedules: BackupSchedules, cluster: string) => schedules.delete(cluster),
    },
  ];
  for (const { name, description, past, change } of others) {
    schedule
      .command(name)
      .argument('<cluster>')
      .description(description)
      .addHelpText('after', `\nExample:\n  walkback schedule ${name} shop`)
      .action(async (cluster: string, _options: object, command: Command) =>
        changeState(optionsOf(command), cluster, { past, change: (schedules) => change(schedules, cluster) }),
      );
  }
}

async function changeState(
  options: CommonOptions,
  cluster: string,
  action: { readonly past: string; readonly change: (schedules: BackupSchedules) => Promise<void> },
): Promise<void> {
  await withSchedules(options, async (schedules) => {
    await action.change(schedules);
    return [{ ok: true, cluster, state: action.past }, `The schedule of ${cluster} is ${action.past}.`];
  });
}

async function withSchedules(
  options: CommonOptions,
  use: (schedules: BackupSchedules, loaded: LoadedConfiguration) => Promise<readonly [unknown, string]>,
): Promise<void> {
  const output = outputOf(options);
  const loaded = await configurationOf(options);
  const [document, text] = await withClient(loaded, (client) => use(client.schedules, loaded));
  output.answer(document, text);
}

function renderSchedules(schedules: readonly BackupSchedule[]): string {
  const rows = schedules.map((schedule) => [
    schedule.cluster,
    schedule.cron ?? '',
    schedule.paused ? `paused: ${schedule.note ?? ''}` : 'on',
    schedule.nextRun ?? '',
    schedule.lastRun ?? 'never',
    String(schedule.runsSkipped),
  ]);
  return renderTable(['CLUSTER', 'CRON (UTC)', 'STATE', 'NEXT', 'LAST', 'SKIPPED'], rows);
}
