/** `walkback schedule …`: base backups, verifications and retention by the clock. */
import type { Command } from 'commander';
import type { BackupSchedule, BackupSchedules, ScheduledAction } from '../../client/schedules.ts';
import type { LoadedConfiguration } from '../../config/load.ts';
import { WalkbackError } from '../../domain/errors.ts';
import { type CommonOptions, configurationOf, optionsOf, outputOf, withClient } from '../context.ts';
import { renderTable } from '../output.ts';
import { parseCount } from './retention.ts';

/** Adds the commands. */
export function addScheduleCommands(program: Command): void {
  const schedule = program.command('schedule').description('base backups, verifications and retention by the clock, kept by Temporal');
  schedule
    .command('set')
    .argument('<cluster>')
    .description('make or replace the schedule of a cluster; a pause is kept')
    .requiredOption('--cron <fields>', 'five fields, in UTC')
    .option('--incremental', 'take only what changed since the newest backup')
    .option('--verify', 'verify the archive, in place of taking base backups')
    .option('--deep', 'with --verify: read and hash every object')
    .option('--prune', 'remove what retention lets go, in place of taking base backups')
    .option('--keep-full <count>', 'with --prune, as of `walkback prune`', parseCount)
    .option('--keep-days <days>', 'with --prune, as of `walkback prune`', parseCount)
    .option('--confirm', 'with --prune, which removes without asking')
    .addHelpText('after', setExamples)
    .action(async (cluster: string, _options: object, command: Command) => {
      const options = optionsOf<{ cron: string } & ActionOptions>(command);
      const action = actionOf(options);
      const { clusterOf } = await import('../../config/configuration.ts');
      await withSchedules(options, async (schedules, { configuration }) => {
        // Otherwise the mistake would come to light at the first run, in the middle of the night.
        clusterOf(configuration, cluster);
        const set = await schedules.set({ cluster, cron: options.cron, action });
        return [
          { ok: true, schedule: set },
          `${setSentences[action.operation](cluster)} at "${options.cron}" (UTC); the next at ${set.nextRun ?? 'no time'}.`,
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

const setExamples = `
Examples:
  walkback schedule set shop --cron "0 2 * * *"
  walkback schedule set shop --incremental --cron "0 2 * * *"
  walkback schedule set shop --verify --deep --cron "0 5 * * 0"
  walkback schedule set shop --prune --keep-full 7 --keep-days 30 --confirm --cron "0 4 * * *"

A cluster has at most one schedule of each kind: base backups, --verify and --prune.`;

type Operation = ScheduledAction['operation'];

/** Which of a cluster's schedules is meant. */
interface KindOptions {
  readonly verify?: boolean;
  readonly prune?: boolean;
}

interface ActionOptions extends KindOptions {
  readonly deep?: boolean;
  readonly incremental?: boolean;
  readonly keepFull?: number;
  readonly keepDays?: number;
  readonly confirm?: boolean;
}

const setSentences: Readonly<Record<Operation, (cluster: string) => string>> = {
  backup: (cluster) => `Base backups of ${cluster} are taken`,
  verify: (cluster) => `The archive of ${cluster} is verified`,
  prune: (cluster) => `The archive of ${cluster} is pruned`,
};

/** @throws WalkbackError INVALID_REQUEST for both kinds at once */
function operationOf({ verify = false, prune = false }: KindOptions): Operation {
  if (verify && prune) throw new WalkbackError('INVALID_REQUEST', 'Say one of --verify and --prune.');
  if (prune) return 'prune';
  return verify ? 'verify' : 'backup';
}

/** @throws WalkbackError INVALID_REQUEST for options of another kind of schedule */
function actionOf(options: ActionOptions): ScheduledAction {
  const operation = operationOf(options);
  const { deep = false, incremental = false, keepFull, keepDays, confirm = false } = options;
  if (deep && operation !== 'verify') throw new WalkbackError('INVALID_REQUEST', '--deep goes with --verify only.');
  if (operation !== 'prune' && (keepFull !== undefined || keepDays !== undefined || confirm))
    throw new WalkbackError('INVALID_REQUEST', '--keep-full, --keep-days and --confirm go with --prune only.');
  if (incremental && operation !== 'backup') throw new WalkbackError('INVALID_REQUEST', '--incremental goes with base backups only.');
  if (operation === 'backup') return incremental ? { operation, kind: 'incremental' } : { operation };
  if (operation === 'verify') return { operation, deep };
  if (!confirm) throw new WalkbackError('INVALID_REQUEST', 'A schedule removes without asking: say --confirm.');
  const rules = { ...(keepFull === undefined ? {} : { keepFull }), ...(keepDays === undefined ? {} : { keepDays }) };
  return { operation, confirm, ...rules };
}

function addStateCommands(schedule: Command): void {
  schedule
    .command('pause')
    .argument('<cluster>')
    .description('take no backups by the clock until resumed')
    .option('--note <text>', 'why', 'paused with walkback schedule pause')
    .option('--verify', 'the schedule of verifications')
    .option('--prune', 'the schedule of retention')
    .addHelpText('after', '\nExample:\n  walkback schedule pause shop --note "migration until Friday"')
    .action(async (cluster: string, _options: object, command: Command) => {
      const options = optionsOf<{ note: string } & KindOptions>(command);
      await changeState(options, cluster, {
        past: 'paused',
        change: (schedules) => schedules.pause(cluster, options.note, operationOf(options)),
      });
    });
  const others = [
    {
      name: 'resume',
      description: 'end a pause',
      past: 'resumed',
      change: (schedules: BackupSchedules, cluster: string, operation: Operation) => schedules.resume(cluster, operation),
    },
    {
      name: 'trigger',
      description: 'do it now, unless it runs',
      past: 'triggered',
      change: (schedules: BackupSchedules, cluster: string, operation: Operation) => schedules.trigger(cluster, operation),
    },
    {
      name: 'delete',
      description: 'remove the schedule; backups stay',
      past: 'deleted',
      change: (schedules: BackupSchedules, cluster: string, operation: Operation) => schedules.delete(cluster, operation),
    },
  ];
  for (const { name, description, past, change } of others) {
    schedule
      .command(name)
      .argument('<cluster>')
      .description(description)
      .option('--verify', 'the schedule of verifications')
      .option('--prune', 'the schedule of retention')
      .addHelpText('after', `\nExample:\n  walkback schedule ${name} shop`)
      .action(async (cluster: string, _options: object, command: Command) => {
        const options = optionsOf<KindOptions>(command);
        await changeState(options, cluster, { past, change: (schedules) => change(schedules, cluster, operationOf(options)) });
      });
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
    schedule.kind === 'incremental' ? 'incremental backup' : schedule.operation,
    schedule.cron ?? '',
    schedule.paused ? `paused: ${schedule.note ?? ''}` : 'on',
    schedule.nextRun ?? '',
    schedule.lastRun ?? 'never',
    String(schedule.runsSkipped),
  ]);
  return renderTable(['CLUSTER', 'DOES', 'CRON (UTC)', 'STATE', 'NEXT', 'LAST', 'SKIPPED'], rows);
}
