/** `walkback probe`: what the store of a cluster's archive really enforces. */
import type { Command } from 'commander';
import { describeCapabilities, type StoreCapabilities } from '../../domain/store-capabilities.ts';
import { type CommonOptions, configurationOf, optionsOf, outputOf } from '../context.ts';
import { renderTable } from '../output.ts';

/** Adds the command. */
export function addProbeCommand(program: Command): void {
  program
    .command('probe')
    .argument('<cluster>', 'name of the cluster in walkback.yaml')
    .description("find out what the store of the cluster's archive enforces, and write it down there for all agents; `enable` does so too")
    .addHelpText('after', '\nExamples:\n  walkback probe shop\n  walkback probe shop --json')
    .action(async (cluster: string, _options: object, command: Command) => probe(cluster, optionsOf(command)));
}

async function probe(cluster: string, options: CommonOptions): Promise<void> {
  const { configuration, secrets } = await configurationOf(options);
  const [{ archiveUrlOf }, { OpenStores }, { probeAndRecord }] = await Promise.all([
    import('../../config/configuration.ts'),
    import('../../processes/stores.ts'),
    import('../../storage/capability-record.ts'),
  ]);
  await using stores = new OpenStores(configuration, secrets);
  const archive = archiveUrlOf(configuration, cluster);
  const store = await probeAndRecord(stores.open(archive));
  outputOf(options).answer({ ok: true, cluster, archive, store }, renderCapabilities(store));
}

/** The table that `probe` and `enable` print. */
export function renderCapabilities(found: StoreCapabilities): string {
  const rows = describeCapabilities(found).map((row) => [row.name, row.found, row.meaning]);
  return renderTable(['STORE', 'FOUND', 'SO'], rows);
}
