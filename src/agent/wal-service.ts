/**
 * The agent's WAL service: answers archive_command and restore_command over a unix socket. It needs the object store and nothing else;
 * Temporal may be down.
 */
import { join } from 'node:path';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import type { AgentLog } from './agent-log.ts';
import type { AgentReply, AgentRequest, AgentStatus, DirectDecision, DirectRestoreState } from './protocol.ts';
import type { ArchivingThresholds } from './push/archiving-alarms.ts';
import { acknowledgementsPathOf } from './push/acknowledgements.ts';
import { ClusterPusher } from './push/cluster-pusher.ts';
import {
  type ClusterRegistration,
  type ClusterRegistrationInput,
  clusterRegistrationSchema,
  type RestoreRegistration,
  type RestoreRegistrationInput,
  restoreRegistrationSchema,
} from './registration.ts';
import { openRegistrationFiles, parseRegistration, type RegistrationFiles } from './registration-files.ts';
import { RestoreFetcher } from './restore/restore-fetcher.ts';
import type { Patience } from './retry.ts';
import { listenOnSocket, type SocketServer } from './socket-server.ts';
import type { WalFiles } from './wal-files.ts';

/** How long running requests may take to finish when the service is closed. */
const closeGraceDefaultMs = 10_000;

/** How the service is started. */
export interface WalServiceOptions {
  /** At most 100 bytes long: the system's limit for unix sockets. */
  readonly socketPath: string;
  /** Registrations are kept here and served again after a restart. */
  readonly stateDirectory: string;
  /** Opens the archive of a registration; asked once for each. The caller closes the stores behind it after the service. */
  readonly openArchive: (registration: ClusterRegistration | RestoreRegistration) => WalFiles | Promise<WalFiles>;
  readonly log: AgentLog;
  /** How many ready WAL files of a cluster are archived before PostgreSQL asks. @default 32 */
  readonly pushAheadCount?: number;
  /** How many segments of a restore lie ready before PostgreSQL asks. @default 8 */
  readonly prefetchCount?: number;
  /** With less free space nothing is prefetched. @default 1 GiB */
  readonly diskFloorBytes?: number;
  /** How long a push is tried again within. @default 30 s in all */
  readonly pushPatience?: Patience;
  /** How long a fetch is tried again within. @default 5 min in all */
  readonly fetchPatience?: Partial<Patience>;
  /** Beyond which archiving raises an alarm. */
  readonly archivingThresholds?: ArchivingThresholds;
  /** How often they are looked at. @default 15 s */
  readonly lookoutIntervalMs?: number;
  /** @default 10 s */
  readonly closeGraceMs?: number;
}

/** Restores that need no Temporal, asked for over the socket. */
export interface DirectRestoring {
  readonly follow: (request: Record<string, unknown>, asker: string) => Promise<DirectRestoreState>;
  readonly state: (restoreId: string) => Promise<DirectRestoreState>;
  readonly decide: (decision: DirectDecision) => Promise<void>;
  readonly cancel: (restoreId: string) => Promise<void>;
  readonly plan: (request: Record<string, unknown>) => Promise<Record<string, unknown>>;
}

/** The running service. Activities in the same process call it directly; everybody else through the socket (client.ts). */
export interface WalService extends AsyncDisposable {
  /**
   * Archives the WAL of this cluster from now on; replaces an earlier registration of the name. Idempotent.
   * With `persist` the registration outlives the process: for clusters that no configuration file names.
   * @throws WalkbackError INVALID_REQUEST
   */
  registerCluster(registration: ClusterRegistrationInput & { readonly persist?: boolean }): Promise<void>;
  /** Archives the WAL of this directory no more. Nothing to do when the name is another directory's, or nobody's. Idempotent. */
  unregisterCluster(cluster: Pick<ClusterRegistration, 'name' | 'dataDirectory'>): Promise<void>;
  /** Serves the WAL of this restore, across restarts, until it is unregistered; replaces an earlier one of the id. Idempotent. @throws WalkbackError INVALID_REQUEST */
  registerRestore(registration: RestoreRegistrationInput): Promise<void>;
  /** Ends the restore's downloads and removes what was prefetched. Idempotent. */
  unregisterRestore(restoreId: string): Promise<void>;
  status(): Promise<AgentStatus>;
  /** Answers from now on who wants to restore without Temporal. */
  serveRestores(restoring: DirectRestoring): void;
}

/**
 * Starts the service.
 * @throws WalkbackError ALREADY_RUNNING when another agent answers on the socket
 */
export async function startWalService(options: WalServiceOptions): Promise<WalService> {
  const service = new SocketWalService(options);
  await service.start();
  return service;
}

class SocketWalService implements WalService {
  readonly #options: WalServiceOptions;
  readonly #startedTime = new Date().toISOString();
  readonly #clusters = new Map<string, ClusterPusher>();
  readonly #restores = new Map<string, RestoreFetcher>();
  readonly #clusterFiles: RegistrationFiles<ClusterRegistration>;
  readonly #restoreFiles: RegistrationFiles<RestoreRegistration>;
  #server: SocketServer | undefined;
  #restoring: DirectRestoring | undefined;

  constructor(options: WalServiceOptions) {
    const { stateDirectory, log } = options;
    this.#options = options;
    this.#clusterFiles = openRegistrationFiles(join(stateDirectory, 'clusters'), { schema: clusterRegistrationSchema, log });
    this.#restoreFiles = openRegistrationFiles(join(stateDirectory, 'restores'), { schema: restoreRegistrationSchema, log });
  }

  async start(): Promise<void> {
    for (const registration of await this.#clusterFiles.load()) await this.#serveCluster(registration);
    for (const registration of await this.#restoreFiles.load()) await this.#serveRestore(registration);
    this.#server = await listenOnSocket(this.#options.socketPath, (request, { signal }) => this.#answer(request, signal));
  }

  async registerCluster(input: ClusterRegistrationInput & { readonly persist?: boolean }): Promise<void> {
    const registration = parseRegistration(clusterRegistrationSchema, input);
    if (input.persist === true) await this.#clusterFiles.save(registration.name, registration);
    if (!isSame(this.#clusters.get(registration.name)?.registration, registration)) await this.#serveCluster(registration);
  }

  async unregisterCluster({ name, dataDirectory }: Pick<ClusterRegistration, 'name' | 'dataDirectory'>): Promise<void> {
    const cluster = this.#clusters.get(name);
    if (cluster?.registration.dataDirectory !== dataDirectory) return;
    await this.#clusterFiles.remove(name);
    this.#clusters.delete(name);
    await cluster.close();
  }

  async registerRestore(input: RestoreRegistrationInput): Promise<void> {
    const registration = parseRegistration(restoreRegistrationSchema, input);
    const present = this.#restores.get(registration.restoreId);
    if (isSame(present?.registration, registration)) return await this.#restoreFiles.save(registration.restoreId, registration);
    await present?.close();
    // What the shell was told to be absent was so by the old view: gone before the new view counts.
    await present?.removePrefetched();
    await this.#restoreFiles.save(registration.restoreId, registration);
    await this.#serveRestore(registration);
  }

  async unregisterRestore(restoreId: string): Promise<void> {
    await this.#restoreFiles.remove(restoreId);
    const restore = this.#restores.get(restoreId);
    this.#restores.delete(restoreId);
    await restore?.close();
    await restore?.removePrefetched();
  }

  async status(): Promise<AgentStatus> {
    return {
      processId: process.pid,
      startedTime: this.#startedTime,
      clusters: await Promise.all(Array.from(this.#clusters.values(), (cluster) => cluster.status())),
      restores: Array.from(this.#restores.values(), (restore) => restore.status()),
    };
  }

  serveRestores(restoring: DirectRestoring): void {
    this.#restoring = restoring;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.close(this.#options.closeGraceMs ?? closeGraceDefaultMs);
    const stopped = new WalkbackError('CANCELLED', 'The agent is being stopped.');
    await Promise.all([
      ...Array.from(this.#clusters.values(), (cluster) => cluster.close(stopped)),
      ...Array.from(this.#restores.values(), (restore) => restore.close()),
    ]);
  }

  async #answer(request: AgentRequest, signal: AbortSignal): Promise<AgentReply> {
    try {
      if (request.op === 'status') return { result: 'status', status: await this.status() };
      if (request.op === 'push') {
        await this.#clusterOf(request.cluster).push(request.name, request.path);
        return { result: 'archived' };
      }
      if (request.op === 'fetch') {
        return { result: await this.#restoreOf(request.restoreId).fetch(request.name, request.destination, { signal }) };
      }
      return await answerDirectly(request, this.#restorer());
    } catch (error) {
      return failureReply(error);
    }
  }

  /** An agent serves WAL a moment before it serves anything else. */
  #restorer(): DirectRestoring {
    if (this.#restoring !== undefined) return this.#restoring;
    throw new WalkbackError('AGENT_UNREACHABLE', 'The agent is only just starting.');
  }

  #clusterOf(name: string): ClusterPusher {
    const cluster = this.#clusters.get(name);
    if (cluster !== undefined) return cluster;
    throw new WalkbackError('UNKNOWN_CLUSTER', `The agent does not archive a cluster named "${name}".`, {
      hint: `It knows: ${[...this.#clusters.keys()].join(', ') || 'none'}. Check the name in archive_command, and that the server's data directory was readable when the agent started.`,
    });
  }

  #restoreOf(restoreId: string): RestoreFetcher {
    const restore = this.#restores.get(restoreId);
    if (restore !== undefined) return restore;
    throw new WalkbackError('NOT_FOUND', `The agent knows no restore "${restoreId}".`, {
      hint: 'The restore has ended or was given up, or the agent runs with another state directory. This server must not be started by hand.',
    });
  }

  /** The former one's acknowledgements speak of its archive, so it ends before the new one begins. */
  async #serveCluster(registration: ClusterRegistration): Promise<void> {
    const { log, pushPatience, pushAheadCount, stateDirectory, archivingThresholds, lookoutIntervalMs } = this.#options;
    await this.#clusters.get(registration.name)?.close();
    const pusher = new ClusterPusher(registration, {
      openFiles: this.#opener(registration),
      log,
      acknowledgementsPath: acknowledgementsPathOf(stateDirectory, registration.name),
      ...(pushPatience === undefined ? {} : { patience: pushPatience }),
      ...(archivingThresholds === undefined ? {} : { thresholds: archivingThresholds }),
      ...(lookoutIntervalMs === undefined ? {} : { lookoutIntervalMs }),
      ...(pushAheadCount === undefined ? {} : { pushAheadCount }),
    });
    this.#clusters.set(registration.name, pusher);
    await pusher.open();
  }

  async #serveRestore(registration: RestoreRegistration): Promise<void> {
    const { log, fetchPatience, prefetchCount, diskFloorBytes } = this.#options;
    const fetcher = new RestoreFetcher(registration, {
      openFiles: this.#opener(registration),
      log,
      ...(fetchPatience === undefined ? {} : { patience: fetchPatience }),
      ...(prefetchCount === undefined ? {} : { prefetchCount }),
      ...(diskFloorBytes === undefined ? {} : { diskFloorBytes }),
    });
    this.#restores.set(registration.restoreId, fetcher);
    await fetcher.open();
  }

  /** Opens the archive at the first need, and again after a failure. */
  #opener(registration: ClusterRegistration | RestoreRegistration): () => Promise<WalFiles> {
    let opened: Promise<WalFiles> | undefined;
    return async () => {
      opened ??= Promise.resolve(this.#options.openArchive(registration));
      try {
        return await opened;
      } catch (error) {
        opened = undefined;
        throw error;
      }
    };
  }
}

function isSame(left: object | undefined, right: object): boolean {
  return left !== undefined && JSON.stringify(left) === JSON.stringify(right);
}

function failureReply(error: unknown): AgentReply {
  const known = error instanceof WalkbackError ? error : new WalkbackError('INTERNAL', messageOf(error), { cause: error });
  return { result: 'error', code: known.code, message: known.message, hint: known.hint };
}

/** Answers who wants to restore without Temporal. */
async function answerDirectly(
  request: Extract<AgentRequest, { op: 'restore' | 'restore-state' | 'cancel-restore' | 'decide' | 'plan' }>,
  restoring: DirectRestoring,
): Promise<AgentReply> {
  switch (request.op) {
    case 'restore':
      return { result: 'restore', restore: await restoring.follow(request.request, request.asker) };
    case 'restore-state':
      return { result: 'restore', restore: await restoring.state(request.restoreId) };
    case 'cancel-restore':
      await restoring.cancel(request.restoreId);
      return { result: 'cancelled' };
    case 'decide':
      await restoring.decide(request);
      return { result: 'decided' };
    case 'plan':
      return { result: 'plan', plan: await restoring.plan(request.request) };
  }
}
