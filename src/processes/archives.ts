/** Where clusters live and archive to, as the configuration says: what activities that need only the archive work with. */
import type { ControlDependencies } from '../activities/dependencies.ts';
import type { ClusterPlace } from '../activities/types.ts';
import { archivesOf, archiveUrlForNewCluster, archiveUrlOf, clusterOf, type Configuration } from '../config/configuration.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { OpenStores } from './stores.ts';

/** Of a worker, and of an agent that restores by itself. */
export function controlArchives(
  configuration: Configuration,
  stores: OpenStores,
): Pick<ControlDependencies, 'locateCluster' | 'configuredClusters' | 'archiveUrlForNewCluster' | 'openStore'> {
  return {
    locateCluster: (cluster) => placeOf(configuration, cluster),
    configuredClusters: () => archivesOf(configuration),
    archiveUrlForNewCluster: (source, name) => archiveUrlForNewCluster(configuration, source, name),
    openStore: (url) => stores.open(url),
  };
}

function placeOf(configuration: Configuration, name: string): ClusterPlace {
  const cluster = clusterOf(configuration, name);
  const host = cluster.host ?? configuration.host.id;
  if (host === undefined) {
    throw new WalkbackError('INVALID_CONFIGURATION', `Nothing says on which host the cluster "${name}" runs.`, {
      hint: `Set clusters.${name}.host in walkback.yaml.`,
    });
  }
  const { port } = cluster;
  return { cluster: name, host, port, archiveUrl: archiveUrlOf(configuration, name), adminRole: cluster.user, database: cluster.database };
}
