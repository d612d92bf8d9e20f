/** Commands about a cluster's archive: `enable`, `backup`, `backups`, `restore-point`. */
import type { Command } from 'commander';
import { type BaseBackup, describeDamage } from '../../domain/base-backup.ts';
import { formatInstant, parseInstant } from '../../domain/instant.ts';
import { renderCapabilities } from './probe.ts';
import { configurationOf, optionsOf, outputOf, withClient } from '../context.ts';
import { follow, noteMissingWorker } from '../follow.ts';
import { formatBytes, formatDuration, renderTable } from '../output.ts';

/** Adds the commands. */
export function addArchiveCommands(program: Command): void {
  program
    .command('enable')
    .argument('<cluster>', 'name of the cluster in walkback.yaml')
    .description('make a cluster archive its WAL continuously, and prove that one segment arrives')
    .option('--allow-restart', 'restart PostgreSQL when archive_mode or wal_level have to change', false)
    .addHelpText('after', '\nExample:\n  walkback enable shop --allow-restart')
    .action(async (cluster: string, _options: object, command: Command) => enable(cluster, optionsOf<{ allowRestart: boolean }>(command)));
  program
    .command('backup')
    .argument('<cluster>', 'name of the cluster in walkback.yaml')
    .description('take a base backup now')
    .option('--incremental', 'take only what changed since the newest backup; a full one when there is none to build on', false)
    .option('--no-wait', 'only start it, and print its id')
    .addHelpText('after', '\nExample:\n  walkback backup shop --incremental')
    .action(async (cluster: string, _options: object, command: Command) =>
      backup(cluster, optionsOf<{ wait: boolean; incremental: boolean }>(command)),
    );
  program
    .command('restore-point')
    .argument('<cluster>', 'name of the cluster in walkback.yaml')
    .argument('<name>', '1 to 63 bytes')
    .description('name this moment, to restore to it later, and wait until it is archived')
    .addHelpText(
      'after',
      '\nExamples:\n  walkback restore-point shop before-migration\n  walkback restore shop --to name:before-migration …',
    )
    .action(async (cluster: string, name: string, _options: object, command: Command) => restorePoint(cluster, name, optionsOf(command)));
  program
    .command('baseline')
    .argument('<cluster>', 'name of the cluster in walkback.yaml')
    .description('count the rows of every table of its database and remember them, for `restore --baseline` to compare with')
    .addHelpText('after', '\nExample:\n  walkback baseline shop')
    .action(async (cluster: string, _options: object, command: Command) => baseline(cluster, optionsOf(command)));
  program
    .command('backups')
    .argument('<cluster>', 'name of the cluster in walkback.yaml')
    .description('list the base backups in the archive; reads the archive itself, so Temporal may be down')
    .addHelpText('after', '\nExample:\n  walkback backups shop --json')
    .action(async (cluster: string, _options: object, command: Command) => listBackups(cluster, optionsOf(command)));
}

async function enable(
  cluster: string,
  options: { readonly allowRestart: boolean; readonly json?: boolean; readonly config?: string },
): Promise<void> {
  const output = outputOf(options);
  const loaded = await configurationOf(options);
  const report = await withClient(loaded, async (client) => {
    const handle = await client.startEnable({ cluster, allowRestart: options.allowRestart });
    await noteMissingWorker(client, output);
    return await follow(handle, output);
  });
  const changed =
    report.changed.length === 0 ? 'nothing had to change' : `set ${report.changed.join(', ')}${report.restarted ? ' and restarted' : ''}`;
  const text = `${cluster} archives its WAL: ${changed}; segment ${report.provenBySegment} arrived.`;
  output.answer({ ok: true, cluster, ...report }, report.store === null ? text : `${text}\n\n${renderCapabilities(report.store)}`);
}

async function backup(
  cluster: string,
  options: { readonly wait: boolean; readonly incremental: boolean; readonly json?: boolean; readonly config?: string },
): Promise<void> {
  const output = outputOf(options);
  const loaded = await configurationOf(options);
  await withClient(loaded, async (client) => {
    const handle = await client.startBackup({ cluster, ...(options.incremental ? { kind: 'incremental' as const } : {}) });
    output.note(`Base backup ${handle.workflowId} is started.`);
    await noteMissingWorker(client, output);
    if (!options.wait) return output.answer({ ok: true, workflowId: handle.workflowId }, handle.workflowId);
    const report = await follow(handle, output);
    const { name, uncompressedBytes, compressedBytes } = report.backup;
    const text = `${name}: ${formatBytes(uncompressedBytes)} stored as ${formatBytes(compressedBytes)} in ${formatDuration(report.totalMilliseconds)}.`;
    const { damage, fullBecause } = report;
    if (fullBecause != null) output.note(`It is a full backup, because ${fullBecause}.`);
    if (damage != null) output.note(`WARNING: the cluster is damaged, and so is this backup: ${describeDamage(damage)}.`);
    output.answer({ ok: true, workflowId: handle.workflowId, ...report }, text);
  });
}

async function restorePoint(cluster: string, name: string, options: { readonly json?: boolean; readonly config?: string }): Promise<void> {
  const output = outputOf(options);
  await withClient(await configurationOf(options), async (client) => {
    await noteMissingWorker(client, output);
    const point = await client.createRestorePoint({ cluster, name });
    const text = `${name}: ${point.lsn} on timeline ${point.timeline}, ${formatInstant(parseInstant(point.time))}.`;
    output.answer({ ok: true, cluster, ...point }, text);
  });
}

async function baseline(cluster: string, options: { readonly json?: boolean; readonly config?: string }): Promise<void> {
  const output = outputOf(options);
  await withClient(await configurationOf(options), async (client) => {
    await noteMissingWorker(client, output);
    const taken = await client.recordBaseline({ cluster });
    const leftOut = taken.leftOut === 0 ? '' : `; ${taken.leftOut} further tables were not counted`;
    output.answer(
      { ok: true, cluster, ...taken },
      `${taken.rows} rows in ${taken.tables} tables of ${taken.database} are remembered as ${taken.key}${leftOut}.`,
    );
  });
}

async function listBackups(cluster: string, options: { readonly json?: boolean; readonly config?: string }): Promise<void> {
  const output = outputOf(options);
  const loaded = await configurationOf(options);
  const { configuration, secrets } = loaded;
  const [{ archiveUrlOf }, { OpenStores }, { openCipher }, { listBaseBackups }] = await Promise.all([
    import('../../config/configuration.ts'),
    import('../../processes/stores.ts'),
    import('../../processes/cipher.ts'),
    import('../../archive/catalog.ts'),
  ]);
  await using stores = new OpenStores(configuration, secrets);
  const listing = await listBaseBackups(stores.open(archiveUrlOf(configuration, cluster)), { cipher: await openCipher(loaded) });
  for (const { name, reason } of listing.damaged) output.note(`${name} cannot be used: ${reason}`);
  output.answer(
    { ok: true, cluster, ...listing },
    listing.backups.length === 0
      ? `${cluster} has no base backup yet: take one with \`walkback backup ${cluster}\`.`
      : renderBackups(listing.backups),
  );
}

function renderBackups(backups: readonly BaseBackup[]): string {
  const rows = backups.map((backup) => [
    backup.name,
    formatInstant(parseInstant(backup.finishTime)),
    String(Math.floor(backup.pgVersion / 10_000)),
    formatBytes(backup.uncompressedBytes),
    formatBytes(backup.compressedBytes),
    kindOf(backup),
  ]);
  return renderTable(['BACKUP', 'FINISHED', 'PG', 'SIZE', 'STORED', 'KIND'], rows);
}

function kindOf({ deltaFrom, isPermanent, damagedBlockCount }: BaseBackup): string {
  const kind = deltaFrom === undefined ? 'full' : `incremental on ${deltaFrom}`;
  const damage = damagedBlockCount === undefined ? [] : [`${damagedBlockCount} DAMAGED PAGES`];
  return [kind, ...(isPermanent ? ['permanent'] : []), ...damage].join(', ');
}
