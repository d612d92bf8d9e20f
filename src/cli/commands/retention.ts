/** Commands about what an archive keeps: `prune`, `backup-mark`. */
import { type Command, InvalidArgumentError } from 'commander';
import { WalkbackError } from '../../domain/errors.ts';
import { formatInstant, parseInstant } from '../../domain/instant.ts';
import type { PruneReport } from '../../domain/prune-report.ts';
import type { PruneRequest } from '../../workflows/contract.ts';
import { type CommonOptions, configurationOf, optionsOf, outputOf, withClient } from '../context.ts';
import { follow, noteMissingWorker } from '../follow.ts';
import { formatBytes, renderTable } from '../output.ts';

type PruneOptions = CommonOptions & Omit<PruneRequest, 'cluster'> & { readonly wait: boolean };

const pruneExamples = `
Examples:
  walkback prune shop --keep-full 7 --keep-days 30
  walkback prune shop --keep-full 7 --keep-days 30 --confirm

What either rule keeps is kept. --keep-days keeps the base backup before the days too, so that all of them can be restored. Without --confirm
nothing is removed.`;

/** Adds the commands. */
export function addRetentionCommands(program: Command): void {
  program
    .command('prune')
    .argument('<cluster>', 'name of the cluster in walkback.yaml')
    .description('remove base backups and WAL that are not to be kept; a dry run unless it is confirmed')
    .option('--keep-full <count>', 'keep the newest so many full base backups, and everything newer', parseCount)
    .option('--keep-days <days>', 'keep what restores every instant of the last so many days', parseCount)
    .option('--confirm', 'remove it', false)
    .option('--allow-empty', 'let no base backup remain, as with --keep-full 0', false)
    .option('--ignore-damaged', 'go on although documents of some base backups cannot be read; those stay', false)
    .option('--no-wait', 'only start it, and print its id')
    .addHelpText('after', pruneExamples)
    .action(async (cluster: string, _options: object, command: Command) => prune(cluster, optionsOf<PruneOptions>(command)));
  program
    .command('backup-mark')
    .argument('<cluster>', 'name of the cluster in walkback.yaml')
    .argument('<backup>', 'name of the base backup')
    .description('mark a base backup, and those that it is a delta of, so that retention never removes it; or take the mark away')
    .option('--permanent', 'never remove it')
    .option('--impermanent', 'remove it when its time has come')
    .addHelpText('after', '\nExample:\n  walkback backup-mark shop base_000000010000000000000005 --permanent')
    .action(async (cluster: string, backup: string, _options: object, command: Command) =>
      mark(cluster, backup, optionsOf<{ permanent?: boolean; impermanent?: boolean }>(command)),
    );
}

/** A whole number; what it may be is for the rules to say. */
export function parseCount(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is a whole number.');
}

async function prune(cluster: string, options: PruneOptions): Promise<void> {
  const output = outputOf(options);
  const { keepFull, keepDays, confirm, allowEmpty, ignoreDamaged, wait } = options;
  await withClient(await configurationOf(options), async (client) => {
    const rules = { ...(keepFull === undefined ? {} : { keepFull }), ...(keepDays === undefined ? {} : { keepDays }) };
    const handle = await client.startPrune({ cluster, ...rules, confirm, allowEmpty, ignoreDamaged });
    await noteMissingWorker(client, output);
    if (!wait) return output.answer({ ok: true, workflowId: handle.workflowId }, handle.workflowId);
    const { plan, removed, steps, totalMilliseconds } = await follow(handle, output);
    const document = { ok: true, workflowId: handle.workflowId, plan, removed, steps, totalMilliseconds };
    output.answer(document, renderPrune(removed ?? plan));
  });
}

async function mark(
  cluster: string,
  backup: string,
  options: CommonOptions & { readonly permanent?: boolean; readonly impermanent?: boolean },
): Promise<void> {
  const isPermanent = options.permanent === true;
  if (isPermanent === (options.impermanent === true))
    throw new WalkbackError('INVALID_REQUEST', 'Say one of --permanent and --impermanent.');
  const output = outputOf(options);
  await withClient(await configurationOf(options), async (client) => {
    const changed = await client.markBackup({ cluster, backup, isPermanent });
    const state = isPermanent ? 'permanent' : 'impermanent';
    const text = changed.length === 0 ? `${backup} is ${state} already.` : `${changed.join(', ')}: ${state} now.`;
    output.answer({ ok: true, cluster, backup, isPermanent, changed }, text);
  });
}

function renderPrune(report: PruneReport): string {
  const { cluster, confirmed, objects, bytes, leftOut, damaged, reportKey } = report;
  const total = `${objects} objects, ${formatBytes(bytes)}`;
  return [
    confirmed
      ? `${cluster}: ${total} removed.`
      : `${cluster}: ${total} would be removed. This was a dry run: add --confirm to remove them.`,
    ...section('Kept', keptLines(report)),
    ...section(confirmed ? 'Removed' : 'To be removed', removedLines(report)),
    ...section('Documents that cannot be read; left alone', damaged),
    ...(leftOut === 0 ? [] : ['', `and ${leftOut} more${reportKey === null ? '' : ', in the report'}`]),
    ...(reportKey === null ? [] : ['', `The whole report is in the archive: ${reportKey}`]),
  ].join('\n');
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', `${title}:`, ...lines.map((line) => `  ${line}`)];
}

function keptLines({ keep, leftoversKept, claims }: PruneReport): string[] {
  const rows = [
    ...keep.map(({ backup, reason }) => [backup, reason]),
    ...leftoversKept.map(({ backup, reason }) => [backup, `no sentinel; ${reason}`]),
    ...claims.map(({ restore, backup }) => [backup, `claimed by ${restore}`]),
  ];
  return rows.length === 0 ? [] : renderTable(['BACKUP', 'WHY'], rows).split('\n');
}

function removedLines({ remove, leftovers, wal }: PruneReport): string[] {
  const rows = [
    ...remove.map(({ backup, finishTime, isDelta, objects, bytes }) => [
      backup,
      formatInstant(parseInstant(finishTime)),
      isDelta ? 'delta' : 'full',
      String(objects),
      formatBytes(bytes),
    ]),
    ...leftovers.map(({ backup, objects, bytes }) => [backup, '', 'leftover', String(objects), formatBytes(bytes)]),
  ];
  const ranges = wal.ranges.map(({ first, last, count }) => `WAL ${first} to ${last}, ${count} segments`);
  return [
    ...(rows.length === 0 ? [] : renderTable(['BACKUP', 'FINISHED', 'KIND', 'OBJECTS', 'SIZE'], rows).split('\n')),
    ...ranges,
    ...(wal.files === 0 ? [] : [`WAL in all: ${wal.files} files, ${formatBytes(wal.bytes)}`]),
  ];
}
