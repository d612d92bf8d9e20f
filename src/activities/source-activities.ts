/** Activities on the host of a source: closing its WAL, and making it archive. */
import { setTimeout as delay } from 'node:timers/promises';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { archiveCommand } from '../agent/commands.ts';
import { majorOf } from '../domain/base-backup.ts';
import type { SourceProof } from '../domain/early-end.ts';
import { WalkbackError } from '../domain/errors.ts';
import { microsecondsOf, parseInstant } from '../domain/instant.ts';
import { parseLsn } from '../domain/lsn.ts';
import { commitStampMarginMs, type RecoveryTarget } from '../domain/recovery-target.ts';
import { segmentNumberAt, walSegmentName } from '../domain/wal-segment.ts';
import { connectServer, type ServerConnection } from '../postgres/connection.ts';
import { readControlData } from '../postgres/control-data.ts';
import { assertNotRetired } from '../postgres/fence.ts';
import { installationFor } from '../postgres/installations.ts';
import { startServer, stopServer } from '../postgres/process-control.ts';
import { readServerFacts, type ServerFacts } from '../postgres/server-facts.ts';
import { serverState } from '../postgres/server-state.ts';
import { switchWal, type WalSwitch } from '../postgres/wal-switch.ts';
import { type ActivityStep, runActivity } from './activity.ts';
import type { HostCluster, HostDependencies } from './dependencies.ts';
import type { ArchivingState, HostActivities } from './types.ts';
import { onSource } from './source-lease.ts';
import { awaitSegmentsArchived } from './wal-arrival.ts';
import { assertWritable } from '../archive/encryption.ts';
import { readRestorePoint, recordRestorePoint, restorePointExists } from '../archive/restore-points.ts';
import { createWalArchive } from '../archive/wal-archive.ts';
import { probeAndRecord } from '../storage/capability-record.ts';
import type { RestorePoint } from '../domain/restore-point.ts';
import { createRestorePoint } from '../postgres/restore-point.ts';

/** A segment arrives within moments on a healthy archive; a backlog takes longer, and the activity is then retried. */
const flushTimeoutMs = 5 * 60_000;
const stopTimeoutMs = 10 * 60_000;
const startTimeoutMs = 10 * 60_000;
/** Clocks of two hosts differ a little; a source whose clock is further behind a target that has passed is out of order. */
const clockWaitMaximumMs = 60_000;

/** Makes the part of the host activities that is about sources. */
export function createSourceActivities(
  dependencies: HostDependencies,
): Pick<HostActivities, 'flushSource' | 'stopSource' | 'createRestorePoint' | 'configureArchiving' | 'restartSource' | 'proveArchiving'> {
  return {
    flushSource: (input) =>
      runActivity((step) => onSource(dependencies.leases, step, (signal) => flushSource(dependencies, input, { ...step, signal }))),
    stopSource: (input) =>
      runActivity((step) => onSource(dependencies.leases, step, (signal) => stopSource(dependencies, input, { ...step, signal }))),
    createRestorePoint: (input) => runActivity((step) => makeRestorePoint(dependencies, input, step.signal)),
    configureArchiving: ({ cluster, archiveUrl }) =>
      runActivity((step) => configureArchiving(dependencies, { name: cluster, archiveUrl }, step)),
    restartSource: ({ cluster }) => runActivity(() => restartSource(dependencies, cluster)),
    proveArchiving: ({ cluster, archiveUrl }) =>
      runActivity(async (step) => {
        const closed = await closeSegment(dependencies.clusterOf(cluster));
        await awaitSegmentsArchived(dependencies.openStore(archiveUrl), [closed.segment], {
          timeoutMs: flushTimeoutMs,
          signal: step.signal,
        });
        return { segment: closed.segment };
      }),
  };
}

interface FlushInput {
  readonly cluster: string;
  readonly archiveUrl: string;
  readonly target: RecoveryTarget;
}

/** Closes the segment once the source's clock has passed the target by the margin, and waits until it is archived. */
async function flushSource(dependencies: HostDependencies, input: FlushInput, step: ActivityStep): Promise<SourceProof> {
  const cluster = dependencies.clusterOf(input.cluster);
  await assertNotRetired(cluster.dataDirectory);
  await using connection = await connectServer(cluster.server);
  const facts = await readServerFacts(connection);
  assertArchives(facts, input.cluster);
  await awaitSourceClock(connection, input.target, { signal: step.signal, extraMs: 0 });
  const closed = await switchWal(connection);
  assertTargetWritten(input, closed);
  await awaitSegmentsArchived(dependencies.openStore(input.archiveUrl), [closed.segment], {
    timeoutMs: flushTimeoutMs,
    signal: step.signal,
    segmentBytes: facts.walSegmentBytes,
  });
  return { how: 'flushed', at: closed.switchedAt, lsn: closed.lsn, timeline: closed.timeline, segment: closed.segment };
}

/** @throws WalkbackError TARGET_IN_FUTURE for a position that the source has not written yet */
function assertTargetWritten({ cluster, target }: FlushInput, closed: WalSwitch): void {
  if (target.kind !== 'lsn' || parseLsn(target.lsn) < parseLsn(closed.lsn)) return;
  throw new WalkbackError('TARGET_IN_FUTURE', `The target ${target.lsn} lies behind the end of the WAL of ${cluster}, ${closed.lsn}.`, {
    facts: { target: target.lsn, end: closed.lsn },
  });
}

/** The restore point, in the archive together with the WAL up to it. */
async function makeRestorePoint(
  dependencies: HostDependencies,
  input: { readonly cluster: string; readonly archiveUrl: string; readonly name: string },
  signal: AbortSignal,
): Promise<RestorePoint> {
  const store = dependencies.openStore(input.archiveUrl);
  if ((await readRestorePoint(store, input.name, { signal })) !== undefined) throw restorePointExists(store, input.name);
  await using connection = await connectServer(dependencies.clusterOf(input.cluster).server);
  assertArchives(await readServerFacts(connection), input.cluster);
  const point = await createRestorePoint(connection, input.name);
  const closed = await switchWal(connection);
  await awaitSegmentsArchived(store, [closed.segment], { timeoutMs: flushTimeoutMs, signal });
  await recordRestorePoint(store, point, { signal });
  return point;
}

async function awaitSourceClock(
  connection: ServerConnection,
  target: RecoveryTarget,
  options: { readonly signal: AbortSignal; readonly extraMs: number },
): Promise<void> {
  if (target.kind !== 'time') return;
  const { now } = await readServerFacts(connection);
  const waitMs = Number((microsecondsOf(target.time) - microsecondsOf(now)) / 1000n) + commitStampMarginMs + options.extraMs + 1;
  if (waitMs > clockWaitMaximumMs) {
    throw new WalkbackError('TARGET_IN_FUTURE', `The target ${target.time} is after now, ${now}, by the clock of the source.`, {
      facts: { target: target.time, now },
    });
  }
  if (waitMs > 0) await delay(waitMs, undefined, { signal: options.signal });
}

/** Shuts the source down cleanly; its last WAL is then in the archive, and pg_control says when it ended. */
async function stopSource(dependencies: HostDependencies, input: FlushInput, step: ActivityStep): Promise<SourceProof> {
  const cluster = dependencies.clusterOf(input.cluster);
  await assertNotRetired(cluster.dataDirectory);
  await awaitClockOfRunningSource(cluster, input.target, step.signal);
  step.signal.throwIfAborted();
  const stopped = await stopServer({ dataDirectory: cluster.dataDirectory, mode: 'fast', timeoutMs: stopTimeoutMs });
  const control = await readControlData(cluster.dataDirectory);
  const redo = parseLsn(control.redoLsn);
  const isFirstRecord = redo % BigInt(control.walSegmentBytes) < BigInt(control.blockBytes);
  if (stopped.escalated || control.state !== 'shut down' || !isFirstRecord) {
    throw new WalkbackError(
      'WAL_NOT_ARCHIVED',
      `${input.cluster} did not shut down cleanly with archiving on (its state is "${control.state}"), so its last WAL may not be in the archive.`,
      {
        hint: 'Start it again and let it shut down by itself, or restore with --source keep.',
      },
    );
  }
  const source = {
    cluster,
    archiveUrl: input.archiveUrl,
    systemIdentifier: control.systemIdentifier,
    segmentBytes: control.walSegmentBytes,
  };
  await pushReadyFiles(dependencies, source, step.signal);
  // The server switched to a new segment before its last checkpoint, so that everything before it can be archived (xlog.c, ShutdownXLOG).
  const segment = walSegmentName(
    { timeline: control.timeline, number: segmentNumberAt(redo, control.walSegmentBytes) - 1n },
    control.walSegmentBytes,
  );
  await awaitSegmentsArchived(dependencies.openStore(input.archiveUrl), [segment], {
    timeoutMs: flushTimeoutMs,
    signal: step.signal,
    segmentBytes: control.walSegmentBytes,
  });
  return { how: 'stopped', at: parseInstant(control.time), lsn: control.redoLsn, timeline: control.timeline, segment };
}

/** pg_control tells whole seconds, so the clock has to be a second further. A source that is down was stopped by an attempt before this one. */
async function awaitClockOfRunningSource(cluster: HostCluster, target: RecoveryTarget, signal: AbortSignal): Promise<void> {
  if (!(await serverState(cluster.dataDirectory)).running) return;
  await using connection = await connectServer(cluster.server);
  await awaitSourceClock(connection, target, { signal, extraMs: 1000 });
}

async function pushReadyFiles(
  dependencies: HostDependencies,
  source: { readonly cluster: HostCluster; readonly archiveUrl: string; readonly systemIdentifier: string; readonly segmentBytes: number },
  signal: AbortSignal,
): Promise<void> {
  const archive = createWalArchive(dependencies.openStore(source.archiveUrl), {
    compression: dependencies.compression,
    cipher: dependencies.cipher,
    segmentBytes: source.segmentBytes,
  });
  for (const name of await readyFiles(source.cluster.dataDirectory)) {
    await archive.push({
      name,
      path: join(source.cluster.dataDirectory, 'pg_wal', name),
      systemIdentifier: source.systemIdentifier,
      signal,
    });
  }
}

async function readyFiles(dataDirectory: string): Promise<string[]> {
  const names = await readdir(join(dataDirectory, 'pg_wal', 'archive_status'));
  return names
    .filter((name) => name.endsWith('.ready'))
    .map((name) => name.slice(0, -'.ready'.length))
    .toSorted();
}

async function closeSegment(cluster: HostCluster): Promise<WalSwitch> {
  await using connection = await connectServer(cluster.server);
  // An anchor makes sure that there is something to close on an idle server.
  return await switchWal(connection, { anchor: true });
}

function assertArchives(facts: ServerFacts, cluster: string): void {
  if (facts.archiveMode !== 'off' && facts.archiveCommand !== '') return;
  throw new WalkbackError('ARCHIVING_NOT_ENABLED', `${cluster} does not archive its WAL: archive_mode is ${facts.archiveMode}.`, {
    hint: `Run \`walkback enable ${cluster}\`.`,
  });
}

/** How long a segment may stay open on a source that writes little: bounds what a lost host can lose. */
const archiveTimeoutSeconds = 60;

/** The store is probed first: from the first segment on, it is written to as it has to be. */
async function configureArchiving(
  dependencies: HostDependencies,
  { name, archiveUrl }: { readonly name: string; readonly archiveUrl: string },
  { signal }: ActivityStep,
): Promise<ArchivingState> {
  assertWritable(dependencies.cipher);
  const cluster = dependencies.clusterOf(name);
  await using connection = await connectServer(cluster.server);
  const facts = await readServerFacts(connection);
  await assertServed(dependencies, cluster, name);
  const store = await probeAndRecord(dependencies.openStore(archiveUrl), { signal });
  const wanted = {
    archive_mode: facts.archiveMode === 'off' ? 'on' : facts.archiveMode,
    wal_level: facts.walLevel === 'minimal' ? 'replica' : facts.walLevel,
    archive_timeout:
      facts.archiveTimeoutSeconds === 0 || facts.archiveTimeoutSeconds > archiveTimeoutSeconds
        ? String(archiveTimeoutSeconds)
        : String(facts.archiveTimeoutSeconds),
    archive_command: archiveCommand({ socketPath: dependencies.socketPath, stateDirectory: dependencies.stateDirectory, cluster: name }),
  };
  const current = {
    archive_mode: facts.archiveMode,
    wal_level: facts.walLevel,
    archive_timeout: String(facts.archiveTimeoutSeconds),
    archive_command: facts.archiveCommand,
  };
  const changed = (Object.keys(wanted) as (keyof typeof wanted)[]).filter((setting) => wanted[setting] !== current[setting]);
  for (const setting of changed) await connection.query(`ALTER SYSTEM SET ${setting} = ${quoteSetting(wanted[setting])}`);
  await connection.query('SELECT pg_reload_conf()');
  return {
    restartNeeded: changed.includes('archive_mode') || changed.includes('wal_level') || (await restartPending(connection)),
    changed,
    store,
  };
}

async function restartPending(connection: ServerConnection): Promise<boolean> {
  const rows = await connection.query(`SELECT 1 FROM pg_settings WHERE pending_restart AND name IN ('archive_mode', 'wal_level')`);
  return rows.length > 0;
}

/** The agent serves a configured cluster from its own start on, unless the directory could not be read then. */
async function assertServed(dependencies: HostDependencies, cluster: HostCluster, name: string): Promise<void> {
  const status = await dependencies.walService.status();
  if (status.clusters.some((registered) => registered.name === name)) return;
  throw new WalkbackError(
    'ARCHIVING_NOT_ENABLED',
    `The agent on ${dependencies.hostId} does not serve ${name}: it could not read ${cluster.dataDirectory} when it started.`,
    { hint: 'Check data_directory in walkback.yaml and restart the agent.' },
  );
}

/** One that is cancelled goes on to its end: a source that was stopped is not left so. */
async function restartSource(dependencies: HostDependencies, name: string): Promise<null> {
  const cluster = dependencies.clusterOf(name);
  if (!(await needsRestart(cluster))) return null;
  const binDirectory = await binDirectoryOf(dependencies, cluster);
  await stopServer({ dataDirectory: cluster.dataDirectory, mode: 'fast', timeoutMs: stopTimeoutMs });
  const logFile = join(dependencies.stateDirectory, 'log', `${name}-restart.log`);
  await startServer({
    binDirectory,
    dataDirectory: cluster.dataDirectory,
    logFile,
    timeoutMs: startTimeoutMs,
    until: 'accepting',
    asBefore: true,
  });
  return null;
}

/** A server that is down was stopped by an attempt before this one. */
async function needsRestart(cluster: HostCluster): Promise<boolean> {
  try {
    await using connection = await connectServer(cluster.server);
    return await restartPending(connection);
  } catch (error) {
    if (error instanceof WalkbackError && error.code === 'POSTGRES_UNREACHABLE') return true;
    throw error;
  }
}

/** Programs of the server's own major version. */
export async function binDirectoryOf(dependencies: HostDependencies, cluster: HostCluster): Promise<string> {
  if (cluster.binDirectory !== undefined) return cluster.binDirectory;
  await using connection = await connectServer(cluster.server);
  const { serverVersionNum } = await readServerFacts(connection);
  return (await installationFor(majorOf(serverVersionNum), dependencies.installations)).binDirectory;
}

/** ALTER SYSTEM takes no parameters. */
function quoteSetting(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
