/** Activities that retire a source behind a fence, and bring it back. */
import { join } from 'node:path';
import { WalkbackError } from '../domain/errors.ts';
import { readControlData } from '../postgres/control-data.ts';
import { majorOfDirectory } from '../postgres/data-directory.ts';
import { fenceDirectory, liftFence, readFence } from '../postgres/fence.ts';
import { installationFor } from '../postgres/installations.ts';
import { startServer } from '../postgres/process-control.ts';
import { serverState } from '../postgres/server-state.ts';
import { runActivity } from './activity.ts';
import type { HostCluster, HostDependencies } from './dependencies.ts';
import { assertPortFree } from './host-inspection.ts';
import { onSource } from './source-lease.ts';
import type { BringBackInput, RetirementActivities } from './family-types.ts';

const startTimeoutMs = 10 * 60_000;

/** Makes the part of the host activities that is about retired clusters. */
export function createRetirementActivities(dependencies: HostDependencies): RetirementActivities {
  return {
    retireSource: ({ cluster, restoreId, keepUntil }) =>
      runActivity((step) =>
        onSource(dependencies.leases, step, async () => {
          const { dataDirectory } = dependencies.clusterOf(cluster);
          const fence = await fenceDirectory(dataDirectory, { restoreId, cluster, fencedAt: new Date().toISOString(), keepUntil });
          return { dataDirectory, keepUntil: fence.keepUntil };
        }),
      ),
    liftSourceFence: ({ cluster, restoreId }) =>
      runActivity((step) =>
        onSource(dependencies.leases, step, async () => {
          await liftFence(dependencies.clusterOf(cluster).dataDirectory, restoreId);
          return null;
        }),
      ),
    checkRetired: ({ cluster, restoreId, isPortTaken }) =>
      runActivity(async () => {
        const source = dependencies.clusterOf(cluster);
        await assertCanComeBack(source, restoreId);
        const { running } = await serverState(source.dataDirectory);
        if (!running && !isPortTaken) await assertPortFree(source.server.port);
        return null;
      }),
    bringBackSource: (input) => runActivity(({ signal }) => bringBack(dependencies, input, signal)),
  };
}

/** One that runs, or has no fence, was brought back by a run of the undo before this one. */
async function assertCanComeBack({ dataDirectory, name }: HostCluster, restoreId: string): Promise<void> {
  const fence = await readFence(dataDirectory);
  if (fence !== undefined && fence.restoreId !== restoreId) {
    throw new WalkbackError('CLUSTER_RETIRED', `${name} in ${dataDirectory} was retired by another restore, ${fence.restoreId}.`, {
      hint: `Undo that one: \`walkback undo ${fence.restoreId}\`.`,
      facts: { restoreId: fence.restoreId },
    });
  }
  // Its directory may be gone by now.
  await majorOfDirectory(dataDirectory);
}

/** One that runs was brought back by an attempt before this one. */
async function bringBack(dependencies: HostDependencies, input: BringBackInput, signal: AbortSignal): Promise<{ dataDirectory: string }> {
  const { dataDirectory, server, binDirectory } = dependencies.clusterOf(input.cluster);
  if (!(await serverState(dataDirectory)).running) await assertPortFree(server.port);
  await liftFence(dataDirectory, input.restoreId);
  const { systemIdentifier, walSegmentBytes } = await readControlData(dataDirectory);
  // An agent that was started while the cluster was fenced does not serve it yet.
  await dependencies.walService.registerCluster({
    name: input.cluster,
    dataDirectory,
    systemIdentifier,
    archiveUrl: input.archiveUrl,
    segmentBytes: walSegmentBytes,
  });
  const installation = await installationFor(await majorOfDirectory(dataDirectory), dependencies.installations);
  await startServer({
    binDirectory: binDirectory ?? installation.binDirectory,
    dataDirectory,
    logFile: join(dependencies.stateDirectory, 'log', `${input.cluster}-undo.log`),
    timeoutMs: startTimeoutMs,
    until: 'accepting',
    asBefore: true,
    signal,
  });
  return { dataDirectory };
}
