/** Commands about restored clusters and who they come from: `report`, `lineage`. Both read the archives themselves, so Temporal may be down. */
import type { Command } from 'commander';
import type { FamilySearch } from '../../archive/family.ts';
import { renderLineage } from '../../domain/lineage.ts';
import { renderWholeLandingReport } from '../../domain/render-landing-report.ts';
import { type CommonOptions, configurationOf, optionsOf, outputOf } from '../context.ts';

/** Adds the commands. */
export function addFamilyCommands(program: Command): void {
  program
    .command('report')
    .argument('<id>', 'id of a restore, or the name of the restored cluster')
    .description('show where a restore landed and how that is known, from the archive; Temporal may be down')
    .addHelpText('after', '\nExamples:\n  walkback report restore/db-1/srv/shop-1157\n  walkback report shop-1157 --json')
    .action(async (id: string, _options: object, command: Command) => showReport(id, optionsOf(command)));
  program
    .command('lineage')
    .argument('<cluster>', 'name of a cluster, configured or restored')
    .description('draw who was restored from whom, and where each left its parent; reads the archives, so Temporal may be down')
    .addHelpText('after', '\nExample:\n  walkback lineage shop')
    .action(async (cluster: string, _options: object, command: Command) => showLineage(cluster, optionsOf(command)));
}

async function showReport(id: string, options: CommonOptions): Promise<void> {
  const output = outputOf(options);
  const { findLandingReport } = await import('../../archive/family.ts');
  const report = await searching(options, (search) => findLandingReport(search, id));
  output.answer({ ok: true, workflowId: report.restoreId, report }, renderWholeLandingReport(report));
}

async function showLineage(cluster: string, options: CommonOptions): Promise<void> {
  const output = outputOf(options);
  const { readLineage } = await import('../../archive/family.ts');
  const lineage = await searching(options, (search) => readLineage(search, cluster));
  output.answer({ ok: true, ...lineage }, renderLineage(lineage));
}

async function searching<T>(options: CommonOptions, use: (search: FamilySearch) => Promise<T>): Promise<T> {
  const { configuration, secrets } = await configurationOf(options);
  const [{ archivesOf }, { OpenStores }] = await Promise.all([
    import('../../config/configuration.ts'),
    import('../../processes/stores.ts'),
  ]);
  await using stores = new OpenStores(configuration, secrets);
  return await use({ openStore: (url) => stores.open(url), configured: archivesOf(configuration) });
}
