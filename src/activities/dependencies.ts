/** What activities work with; built once by the process that runs them. */
import type { RestoredClusters } from '../agent/restored-clusters.ts';
import type { WalService } from '../agent/wal-service.ts';
import type { Compression } from '../archive/compression.ts';
import type { ObjectCipher } from '../archive/encryption/cipher.ts';
import type { ManifestChecksum } from '../archive/push/file-digest.ts';
import type { ArchiveOfCluster } from '../archive/family.ts';
import { createWalArchive, type WalArchive } from '../archive/wal-archive.ts';
import { defaultWalSegmentBytes } from '../domain/wal-segment.ts';
import type { ConnectOptions } from '../postgres/connection.ts';
import type { InstallationSearch } from '../postgres/installations.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import type { DirectoryLeases } from './directory-leases.ts';
import type { HeldBackups } from './held-backups.ts';
import type { ClusterPlace } from './types.ts';

/** Of activities that need only the archive. */
export interface ControlDependencies {
  /** @throws WalkbackError UNKNOWN_CLUSTER */
  readonly locateCluster: (cluster: string) => ClusterPlace;
  /** Every configured cluster whose archive is known. */
  readonly configuredClusters: () => readonly ArchiveOfCluster[];
  /** @throws WalkbackError INVALID_CONFIGURATION */
  readonly archiveUrlForNewCluster: (source: string, name: string) => string;
  /** Opens an archive, or gives the one that is open; it is closed with the process. */
  readonly openStore: (url: string) => ObjectStore;
  /** Does Temporal run a workflow of that id now? @throws WalkbackError TEMPORAL_UNREACHABLE */
  readonly isWorkflowRunning: (workflowId: string) => Promise<boolean>;
  /** Undefined: archives are not encrypted. */
  readonly cipher: ObjectCipher | undefined;
}

/** A cluster on this host. */
export interface HostCluster {
  readonly name: string;
  readonly dataDirectory: string;
  /** How the agent logs in: as superuser over the unix socket. */
  readonly server: Pick<ConnectOptions, 'host' | 'port' | 'user' | 'database' | 'password'>;
  /** Directory of its programs, when the configuration names it. */
  readonly binDirectory: string | undefined;
}

/** Of activities on a database host. */
export interface HostDependencies {
  readonly hostId: string;
  /** A configured cluster, or one restored here. @throws WalkbackError UNKNOWN_CLUSTER */
  readonly clusterOf: (name: string) => HostCluster;
  readonly openStore: (url: string) => ObjectStore;
  readonly compression: Compression;
  readonly cipher: ObjectCipher | undefined;
  readonly partBytes: number;
  readonly uploadConcurrency: number;
  readonly downloadConcurrency: number;
  /** Checksum of files in backup_manifest. */
  readonly manifestChecksum: ManifestChecksum;
  /** Incremental backups between a full one and its next. */
  readonly maximumIncrementalChain: number;
  readonly heldBackups: HeldBackups;
  /** What becomes of a base backup when pages have a wrong checksum. */
  readonly onDamagedPages: 'report' | 'fail';
  readonly walService: WalService;
  readonly restoredClusters: RestoredClusters;
  readonly leases: DirectoryLeases;
  /** The agent's socket, for archive_command and restore_command. */
  readonly socketPath: string;
  readonly stateDirectory: string;
  /** Private directories of restored clusters' sockets are made in it; short, since a socket's path has at most 107 bytes. */
  readonly runDirectory: string;
  readonly installations: InstallationSearch;
  readonly listenAddresses: string;
  /** Room that a restore leaves free beyond base backup and WAL: temporary files, logs, the new timeline's first segments. */
  readonly diskMarginBytes: number;
  readonly operatingSystemUser: string;
}

/** The WAL of an archive, for reading: compression plays no part then. Segments have 16 MiB unless it is said otherwise. */
export function walArchiveOf(
  store: ObjectStore,
  { cipher, segmentBytes = defaultWalSegmentBytes }: Pick<ControlDependencies, 'cipher'> & { readonly segmentBytes?: number | undefined },
): WalArchive {
  return createWalArchive(store, { compression: 'zstd', cipher, segmentBytes });
}
