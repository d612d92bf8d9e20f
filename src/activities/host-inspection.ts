/** Looks at the host before a restore: what is asked for, what the base backup needs, and what is there. Changes nothing. */
import { createServer } from 'node:net';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { resolveSecretReference } from '../agent/secret-reference.ts';
import { assertWritable } from '../archive/encryption.ts';
import { tablespaceDirectory } from '../archive/fetch/member-path.ts';
import { readBackupSurroundings } from '../archive/backup-surroundings.ts';
import { majorOf } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import { type DiskFacts, diskCheck, type HostFacts, sourceChecks } from '../domain/host-checks.ts';
import { found, type PlanCheck, type PlanCheckName, refused } from '../domain/plan-check.ts';
import { type RecoveryPlan, segmentCountOf } from '../domain/recovery-plan.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import { splitLibraries } from '../postgres/carried-settings.ts';
import { type DataDirectoryState, inspectDataDirectory } from '../postgres/data-directory.ts';
import { installationFor, type PostgresInstallation } from '../postgres/installations.ts';
import { absentLibraries } from '../postgres/libraries.ts';
import { inspectMachine, linkedIcuMajor } from '../postgres/machine.ts';
import type { HostDependencies } from './dependencies.ts';
import type { HostInspection } from './plan-types.ts';

/** Replay keeps about two checkpoints of WAL in pg_wal, beside what is fetched ahead. */
const walWindowSegments = 32;

/** What is to be restored, and where. */
export interface InspectionOptions {
  /** Of the restore that asks: what it has claimed itself does not stand in its way. */
  readonly restoreId: string;
  readonly request: CompleteRestoreRequest;
  /** Of the source. */
  readonly archiveUrl: string;
  /** Null when none could be made: then only the place is looked at. */
  readonly plan: RecoveryPlan | null;
  readonly signal: AbortSignal;
}

/** Looks at everything, in the order in which a restore would be refused. */
export async function inspectHost(dependencies: HostDependencies, options: InspectionOptions): Promise<HostInspection> {
  const { request, plan } = options;
  const place = [
    await checked('encryption', () => {
      // The restored cluster archives from its first segment on.
      assertWritable(dependencies.cipher);
      return 'What the restored cluster archives can be encrypted as the configuration says.';
    }),
    await checked('data-directory', () => assertDirectoryFree(request.dataDirectory)),
    await checked('name', () => assertNameFree(dependencies, options)),
    await checked('port', () => assertPortFree(request.port)),
    await checked('passwords', () => assertPasswordsReadable(request)),
  ];
  return plan === null
    ? { checks: place, installation: null, disk: null }
    : await inspectForBackup(dependencies, { ...options, plan, place });
}

async function inspectForBackup(
  dependencies: HostDependencies,
  options: InspectionOptions & { readonly plan: RecoveryPlan; readonly place: readonly PlanCheck[] },
): Promise<HostInspection> {
  const { request, plan, place } = options;
  let installation: PostgresInstallation | undefined;
  const programs = await checked('programs', async () => {
    installation = await installationFor(majorOf(plan.backup.pgVersion), dependencies.installations);
    return `PostgreSQL ${installation.version} is in ${installation.binDirectory}.`;
  });
  const disk = await measureDisk(request.dataDirectory, { plan, marginBytes: dependencies.diskMarginBytes });
  const surroundings = await readBackupSurroundings(dependencies.openStore(options.archiveUrl), plan.backup.name, options.signal);
  const tablespaces = surroundings.tablespaces.map(({ oid, location }) => {
    return `${location} becomes ${tablespaceDirectory(request.dataDirectory, oid)}`;
  });
  const text = tablespaces.length === 0 ? 'There are none.' : `They come into the data directory, on its disk: ${tablespaces.join(', ')}.`;
  const checks = [...place, programs, diskCheck(disk), found('tablespaces', 'ok', text.slice(0, textMaximumLength))];
  if (installation === undefined) return { checks, installation: null, disk };
  const { source } = surroundings;
  const facts = await hostFacts(installation, source);
  const allow = { missingLibraries: request.allowMissingLibraries === true };
  return { checks: [...checks, ...sourceChecks(source, facts, allow)], installation, disk };
}

const textMaximumLength = 2000;

/** A sentence when it holds, and the refusal when it does not. */
async function checked(name: PlanCheckName, look: () => Promise<string> | string): Promise<PlanCheck> {
  try {
    return found(name, 'ok', await look());
  } catch (error) {
    if (error instanceof WalkbackError) return refused(name, error);
    throw error;
  }
}

async function hostFacts(
  { binDirectory }: PostgresInstallation,
  source: Awaited<ReturnType<typeof readBackupSurroundings>>['source'],
): Promise<HostFacts> {
  const machine = await inspectMachine();
  const preload = await splitLibraries(source?.preloadLibraries ?? [], binDirectory);
  return {
    ...machine,
    icuMajor: await linkedIcuMajor(binDirectory),
    absentLibraries: await absentLibraries(source?.functionLibraries ?? [], binDirectory),
    absentPreloadLibraries: preload.absent,
  };
}

async function assertDirectoryFree(dataDirectory: string): Promise<string> {
  const state = await inspectDataDirectory(dataDirectory);
  if (state.kind === 'marked') throw leftByRestore(dataDirectory, state);
  if (state.kind === 'running') {
    throw new WalkbackError('DATA_DIRECTORY_IN_USE', `A server runs on ${dataDirectory}.`, { facts: { dataDirectory } });
  }
  if (state.kind === 'occupied') {
    throw new WalkbackError('DATA_DIRECTORY_NOT_EMPTY', `${dataDirectory} is not empty.`, { facts: { dataDirectory } });
  }
  return `${dataDirectory} is ${state.kind}.`;
}

/** What an earlier run has left, perhaps one that was terminated and could clear nothing away, is refused with what its marker tells. */
function leftByRestore(dataDirectory: string, { marker, running }: DataDirectoryState & { readonly kind: 'marked' }): WalkbackError {
  const { restoreId, runId, phase, createdAt } = marker;
  const by = `the restore "${restoreId}" (${phase}, made ${createdAt})`;
  const facts = { dataDirectory, restoreId, runId, phase };
  return running
    ? new WalkbackError('DATA_DIRECTORY_IN_USE', `A server of ${by} runs on ${dataDirectory}.`, {
        facts,
        hint: `Look whether that restore, or the cluster that came of it, is in use. If it is not: pg_ctl -D ${dataDirectory} stop.`,
      })
    : new WalkbackError('DATA_DIRECTORY_NOT_EMPTY', `${dataDirectory} is not empty: it holds what ${by} has left.`, {
        facts,
        hint: 'Remove the directory when nothing in it is needed, or choose another one.',
      });
}

/** The name of a configured cluster stands for its archive and its archive_command too, whether it has used them yet or not. */
function assertNameFree(dependencies: HostDependencies, { request, restoreId }: InspectionOptions): string {
  const { name, dataDirectory, port } = request;
  if (isConfiguredElsewhere(dependencies, request)) {
    const known = dependencies.clusterOf(name);
    throw new WalkbackError('NAME_IN_USE', `The name "${name}" is that of a cluster on ${known.dataDirectory}.`, { facts: { name } });
  }
  dependencies.restoredClusters.assertFree({ name, dataDirectory, port, restoreId });
  return `The name ${name} is free, and no other restore has taken name, port or directory.`;
}

function isConfiguredElsewhere(dependencies: HostDependencies, { name, dataDirectory }: CompleteRestoreRequest): boolean {
  try {
    return dependencies.clusterOf(name).dataDirectory !== dataDirectory;
  } catch (error) {
    // Nobody has the name.
    if (error instanceof WalkbackError && error.code === 'UNKNOWN_CLUSTER') return false;
    throw error;
  }
}

/** @throws WalkbackError PORT_IN_USE, INVALID_REQUEST for a port that the agent may not listen on */
export async function assertPortFree(port: number): Promise<string> {
  for (const host of ['127.0.0.1', '0.0.0.0']) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()));
    try {
      await promise;
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'EACCES')
        throw new WalkbackError('INVALID_REQUEST', `The agent may not listen on port ${port}.`, {
          hint: 'Choose a port above 1023.',
          cause,
        });
      throw new WalkbackError('PORT_IN_USE', `Port ${port} is taken on this host.`, { facts: { port }, cause });
    }
  }
  return `Port ${port} is free.`;
}

async function assertPasswordsReadable({ roles }: CompleteRestoreRequest): Promise<string> {
  let files = 0;
  for (const { password, oldPasswordFile } of roles) {
    const paths = [...(password.kind === 'file' ? [password.path] : []), ...(oldPasswordFile === undefined ? [] : [oldPasswordFile])];
    for (const path of paths) await resolveSecretReference(`file:${path}`);
    files += paths.length;
  }
  return files === 0 ? 'No password is read from a file.' : `All ${files} password files can be read, by nobody else.`;
}

/** How much room there is, and how much a restore by the plan takes. */
async function measureDisk(
  dataDirectory: string,
  { plan, marginBytes }: { readonly plan: RecoveryPlan; readonly marginBytes: number },
): Promise<DiskFacts> {
  const path = await nearestExisting(dataDirectory);
  const { bavail, bsize } = await statfs(path);
  const walBytes = Math.min(segmentCountOf(plan.view), walWindowSegments) * plan.walSegmentBytes;
  const { uncompressedBytes, restoredBytes = uncompressedBytes } = plan.backup;
  return { path, freeBytes: bavail * bsize, neededBytes: restoredBytes + walBytes + marginBytes };
}

async function nearestExisting(path: string): Promise<string> {
  try {
    await statfs(path);
    return path;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path === '/') throw error;
    return await nearestExisting(dirname(path));
  }
}
