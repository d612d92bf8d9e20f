/** `walkback archive-status`: where the archiving of this host's clusters stands, by the word of its agent. */
import type { Command } from 'commander';
import type { AgentStatus } from '../../agent/protocol.ts';
import { WalkbackError } from '../../domain/errors.ts';
import { type CommonOptions, configurationOf, optionsOf, outputOf } from '../context.ts';
import { formatBytes, formatDuration, renderTable } from '../output.ts';

/** Adds the command. */
export function addArchiveStatusCommand(program: Command): void {
  program
    .command('archive-status')
    .argument('[cluster]', "name of a cluster; default: all that this host's agent archives")
    .description(
      "show what waits to be archived, for how long, the room that is left, and alarms; asks this host's agent, so Temporal may be down",
    )
    .addHelpText('after', '\nExamples:\n  walkback archive-status\n  walkback archive-status shop --json')
    .action(async (cluster: string | undefined, _options: object, command: Command) => archiveStatus(cluster, optionsOf(command)));
}

async function archiveStatus(cluster: string | undefined, options: CommonOptions): Promise<void> {
  const output = outputOf(options);
  const { configuration } = await configurationOf(options);
  const { agentStatus } = await import('../../agent/client.ts');
  const status = await agentStatus(configuration.host.socket);
  const clusters = status.clusters.filter(({ name }) => cluster === undefined || name === cluster);
  if (cluster !== undefined && clusters.length === 0) throw unknown(cluster, status);
  for (const { name, alarms } of clusters) for (const alarm of alarms) output.note(`ALARM ${name}: ${alarm}`);
  output.answer({ ok: true, clusters }, clusters.length === 0 ? 'The agent archives no cluster.' : renderClusters(clusters));
}

function renderClusters(clusters: AgentStatus['clusters']): string {
  const rows = clusters.map((cluster) => [
    cluster.name,
    `${cluster.backlogCount} (${formatBytes(cluster.backlogBytes)})`,
    cluster.oldestBacklogAgeMs === null ? '-' : formatDuration(cluster.oldestBacklogAgeMs),
    cluster.pgWalFreeBytes === null ? '-' : formatBytes(cluster.pgWalFreeBytes),
    cluster.lastArchivedName ?? '-',
    cluster.lastError === null ? '-' : `${cluster.lastError.code} at ${cluster.lastError.time}`,
  ]);
  return renderTable(['CLUSTER', 'WAITING', 'OLDEST', 'ROOM IN PG_WAL', 'LAST ARCHIVED', 'LAST ERROR'], rows);
}

function unknown(cluster: string, { clusters }: AgentStatus): WalkbackError {
  return new WalkbackError('UNKNOWN_CLUSTER', `The agent of this host does not archive a cluster named "${cluster}".`, {
    hint: `It knows: ${clusters.map(({ name }) => name).join(', ') || 'none'}.`,
  });
}
