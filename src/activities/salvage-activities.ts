/** The activity on the host of a dead source: bringing what it has not archived into the archive. */
import { setTimeout as delay } from 'node:timers/promises';
import { salvageWal } from '../archive/salvage-wal.ts';
import { createWalArchive } from '../archive/wal-archive.ts';
import type { SourceProof } from '../domain/early-end.ts';
import { WalkbackError } from '../domain/errors.ts';
import { instantOf, microsecondsOf } from '../domain/instant.ts';
import { formatLsn } from '../domain/lsn.ts';
import { commitStampMarginMs, type RecoveryTarget } from '../domain/recovery-target.ts';
import { readControlData } from '../postgres/control-data.ts';
import { serverState } from '../postgres/server-state.ts';
import { runActivity } from './activity.ts';
import type { HostCluster, HostDependencies } from './dependencies.ts';
import { onSource } from './source-lease.ts';
import type { HostActivities } from './types.ts';

type SalvageInput = Parameters<HostActivities['salvageSource']>[0];

/** Makes the activity. */
export function createSalvageActivities(dependencies: HostDependencies): Pick<HostActivities, 'salvageSource'> {
  return {
    salvageSource: (input) =>
      runActivity((step) => onSource(dependencies.leases, step, (signal) => salvageSource(dependencies, input, signal))),
  };
}

/** Nothing is committed on a server that does not run: what it has left by then is everything up to the target. */
async function salvageSource(dependencies: HostDependencies, input: SalvageInput, signal: AbortSignal): Promise<SourceProof> {
  const cluster = dependencies.clusterOf(input.cluster);
  await assertDead(cluster);
  const control = await readControlData(cluster.dataDirectory);
  assertSameCluster(cluster, control.systemIdentifier, input.systemIdentifier);
  await awaitMargin(input.target, signal);
  await assertDead(cluster);
  const at = instantOf(new Date());
  const { walSegmentBytes: segmentBytes } = control;
  const { compression, cipher } = dependencies;
  const archive = createWalArchive(dependencies.openStore(input.archiveUrl), { compression, cipher, segmentBytes });
  const salvaged = await salvageWal({ ...control, dataDirectory: cluster.dataDirectory }, archive, signal);
  // One that was started meanwhile goes on writing where the end was read.
  await assertDead(cluster);
  const { timeline, lastSegment, segmentsStored, partial, lastCommit } = salvaged;
  return {
    how: 'salvaged',
    at,
    lsn: formatLsn(salvaged.end),
    timeline,
    segment: lastSegment,
    salvage: {
      segments: segmentsStored,
      partial: partial ?? null,
      lastCommit: lastCommit === undefined ? null : { time: lastCommit.time, xid: lastCommit.xid ?? null },
    },
  };
}

async function assertDead({ name, dataDirectory }: HostCluster): Promise<void> {
  const { running, pid } = await serverState(dataDirectory);
  if (!running) return;
  throw new WalkbackError('SOURCE_RUNNING', `${name} runs on ${dataDirectory} (process ${pid}), so there is nothing to salvage.`, {
    facts: { dataDirectory, pid: pid ?? null },
  });
}

/** @throws WalkbackError WAL_REFUSED when the directory holds another cluster than the archive */
function assertSameCluster({ name, dataDirectory }: HostCluster, found: string, wanted: string | undefined): void {
  if (wanted === undefined || found === wanted) return;
  throw new WalkbackError(
    'WAL_REFUSED',
    `${dataDirectory} is not that of ${name}: its system identifier is ${found}, and that of the base backup ${wanted}.`,
    { hint: `Check clusters.${name}.data_directory in walkback.yaml of this host.`, facts: { dataDirectory, found, wanted } },
  );
}

/** A target that has only just passed by another clock is waited for; the target itself was checked against now. */
async function awaitMargin(target: RecoveryTarget, signal: AbortSignal): Promise<void> {
  if (target.kind !== 'time') return;
  const now = microsecondsOf(instantOf(new Date()));
  const waitMs = Number((microsecondsOf(target.time) - now) / 1000n) + commitStampMarginMs + 1;
  if (waitMs > 0) await delay(Math.min(waitMs, commitStampMarginMs * 10), undefined, { signal });
}
