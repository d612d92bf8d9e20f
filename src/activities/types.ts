/**
 * What workflows may ask for: inputs and results of every activity. Everything is JSON-safe and small, and holds no secret. Every activity may
 * be run twice; the line at each says why that is safe.
 */
import type { ExaminationActivities } from './examination-types.ts';
import type { FamilyActivities, RetirementActivities } from './family-types.ts';
import type { UploadedBaseBackup } from '../archive/base-backup-push.ts';
import type { VerificationReport } from '../domain/archive-findings.ts';
import type { PruneReport } from '../domain/prune-report.ts';
import type { RetentionRules } from '../domain/retention-policy.ts';
import type { Instant } from '../domain/instant.ts';
import type { ArchiveWindow } from '../domain/archive-window.ts';
import type { BackupKind, BaseBackup } from '../domain/base-backup.ts';
import type { DatedRecord, SourceProof } from '../domain/early-end.ts';
import type { DamagedBackup, RoleReport } from '../domain/landing-report.ts';
import type { InsufficientSetting, RecoverySummary } from '../domain/recovery-events.ts';
import type { RecoveryPlan } from '../domain/recovery-plan.ts';
import type { HostInspection, HostInspectionInput, OutlinedRestore } from './plan-types.ts';
import type { RecoveryTarget, TargetTimeline } from '../domain/recovery-target.ts';
import type { RestorePoint } from '../domain/restore-point.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import type { StoreCapabilities } from '../domain/store-capabilities.ts';
import type { WalSegmentName } from '../domain/wal-segment.ts';

/** A result, and on which attempt it was reached. */
export interface Attempted<T> {
  readonly value: T;
  /** 1 for a first try. */
  readonly attempts: number;
}

/** How far a long activity is; sent as heartbeat details. */
export interface ActivityProgress {
  readonly bytesDone?: number;
  readonly bytesTotal?: number;
  readonly partsDone?: number;
  readonly partsTotal?: number;
  /** Last position replayed, `0/5000028`. */
  readonly replayedLsn?: string;
  readonly note?: string;
}

// ── Only the archive: task queue `walkback` ──────────────────────────────────────────────────────────────────────────────────────────────

/** Where a cluster lives and archives to, by the worker's configuration. */
export interface ClusterPlace {
  readonly cluster: string;
  readonly host: string;
  /** Where it listens; undefined in histories of older workers. */
  readonly port?: number;
  readonly archiveUrl: string;
  /** Superuser that the agent logs in as; it exists in a restored copy too. */
  readonly adminRole: string;
  readonly database: string;
}

/** A restore decided: nothing was done yet. */
export interface PlannedRestore {
  readonly source: ClusterPlace;
  /** Archive of the restored cluster. */
  readonly childArchiveUrl: string;
  readonly plan: RecoveryPlan;
}

/** Asks for a plan. */
export interface PlanInput {
  readonly request: CompleteRestoreRequest;
  /** WAL that must be part of the plan: what the source flushed. */
  readonly sourceProof?: SourceProof;
  /** Backups that count no more, with all that build on them: they turned out to be damaged. Default none. */
  readonly without?: readonly DamagedBackup[];
}

/** Asks for retention. */
export interface PruneInput {
  readonly cluster: string;
  readonly rules: RetentionRules;
  /** Days are counted from here. */
  readonly now: Instant;
  readonly confirm: boolean;
  readonly allowEmpty: boolean;
  readonly ignoreDamaged: boolean;
}

/** Asks for a mark. */
export interface MarkBackupRequest {
  readonly cluster: string;
  readonly backup: string;
  readonly isPermanent: boolean;
}

/** Asks for a verification. */
export interface VerifyInput {
  readonly cluster: string;
  readonly deep: boolean;
  /** Names the report. */
  readonly id: string;
  /** RFC 3339. */
  readonly startedAt: string;
}

/** Activities that need only the archive. */
export interface ControlActivities extends FamilyActivities {
  /** Claims the base backup it chooses, under the restore's id: again and again the same object. */
  planRestore(input: PlanInput): Promise<Attempted<PlannedRestore>>;
  /** Read-only. */
  outlineRestore(input: { readonly request: CompleteRestoreRequest }): Promise<Attempted<OutlinedRestore>>;
  /** Read-only. */
  locateCluster(input: { readonly cluster: string }): Promise<Attempted<ClusterPlace>>;
  /** Read-only. The newest `limit` backups, oldest first. */
  listBaseBackups(input: { readonly cluster: string; readonly limit: number }): Promise<Attempted<readonly BaseBackup[]>>;
  /** Stores its report under the id; an attempt goes on where the one before was. */
  verifyArchive(input: VerifyInput): Promise<Attempted<VerificationReport>>;
  /** Removes what is there still; without `confirm` read-only. */
  pruneArchive(input: PruneInput): Promise<Attempted<PruneReport>>;
  /** Writes the same marks again. @returns the backups whose mark was changed by this attempt */
  markBackup(input: MarkBackupRequest): Promise<Attempted<readonly string[]>>;
  /** Read-only. */
  readArchiveWindow(input: { readonly cluster: string }): Promise<Attempted<ArchiveWindow>>;
}

// ── Host activities: task queue `walkback-host-<host id>` ────────────────────────────────────────────────────────────────────────────────

/** What every step of a restore on the host needs. */
export interface RestoreJob {
  /** The workflow id: one restore a data directory. */
  readonly restoreId: string;
  readonly runId: string;
  readonly cluster: string;
  readonly name: string;
  readonly dataDirectory: string;
  readonly port: number;
  readonly archiveUrl: string;
  readonly childArchiveUrl: string;
  readonly adminRole: string;
  readonly database: string;
  readonly target: RecoveryTarget;
  readonly timeline: TargetTimeline;
  readonly atTarget: 'promote' | 'pause';
  readonly plan: RecoveryPlan;
  /** Settings that replay has met a higher value of than the base backup knew. Default: none. */
  readonly minimums?: Readonly<Record<string, number>>;
}

/** What the host found before anything was done. */
export interface HostCheck {
  readonly postgresVersion: string;
  readonly binDirectory: string;
  readonly freeBytes: number;
  readonly neededBytes: number;
}

/** How recovery ended, as a value: the workflow decides. */
export type RecoveryOutcome =
  | { readonly kind: 'promoted'; readonly landing: Landing }
  | { readonly kind: 'paused'; readonly landing: Landing }
  /** "recovery ended before configured recovery target was reached". */
  | { readonly kind: 'ended-early'; readonly landing: Landing }
  /** The source raised a setting after the base backup; replay goes on once it is raised here too, by a start of the same directory. */
  | { readonly kind: 'setting-too-low'; readonly setting: InsufficientSetting; readonly landing: Landing }
  /** The server is gone without a reason that forbids another start of the same directory. */
  | { readonly kind: 'interrupted'; readonly reason: string; readonly landing: Landing };

/** What PostgreSQL's log and catalogues say of where it is. */
export interface Landing {
  readonly summary: RecoverySummary;
  readonly timeline: number;
  readonly lastSegmentRestored: WalSegmentName | undefined;
  /** Of an early end: a record that was replayed and is dated after the target, looked for where nothing else in the archive tells. */
  readonly laterRecord?: DatedRecord;
  /** PostgreSQL's own lines about it, bounded. */
  readonly logLines: readonly string[];
}

/** Result of a base backup whose files are uploaded; it does not exist before `completeBaseBackup`. */
export interface CopiedBaseBackup {
  readonly uploaded: UploadedBaseBackup;
  /** Segment that holds the end of the backup. */
  readonly finishSegment: WalSegmentName;
  readonly walSegmentBytes: number;
  /** Why the backup is a full one although an incremental one was asked for. */
  readonly fullBecause?: string | null;
}

/** A base backup job on the source's host. */
export interface BackupJob {
  readonly cluster: string;
  readonly archiveUrl: string;
  /** Default full. */
  readonly kind?: BackupKind;
}

/** How archiving stands after `enable`. */
export interface ArchivingState {
  readonly restartNeeded: boolean;
  readonly changed: readonly string[];
  /** What the archive's store enforces; undefined in histories of older agents. */
  readonly store?: StoreCapabilities;
}

/** Activities on a database host. */
export interface HostActivities extends RetirementActivities, ExaminationActivities {
  /** Read-only. */
  inspectHost(input: HostInspectionInput): Promise<Attempted<HostInspection>>;
  /** Looks, and claims name and port; the same restore may claim again. */
  checkHost(input: { readonly request: CompleteRestoreRequest; readonly job: RestoreJob }): Promise<Attempted<HostCheck>>;
  /** Gives back what checkHost claimed for a restore that goes no further; doing it again changes nothing. */
  releaseClaim(job: RestoreJob): Promise<Attempted<null>>;
  /** Switches to a new segment; doing it again switches again, which is harmless. */
  flushSource(input: {
    readonly cluster: string;
    readonly archiveUrl: string;
    readonly target: RecoveryTarget;
  }): Promise<Attempted<SourceProof>>;
  /** A stopped server is left stopped. */
  stopSource(input: {
    readonly cluster: string;
    readonly archiveUrl: string;
    readonly target: RecoveryTarget;
  }): Promise<Attempted<SourceProof>>;
  /** Stores what the archive lacks; a file that is there is left as it is. */
  salvageSource(input: {
    readonly cluster: string;
    readonly archiveUrl: string;
    readonly target: RecoveryTarget;
    /** That of the base backup; undefined when the archive does not say. */
    readonly systemIdentifier?: string | undefined;
  }): Promise<Attempted<SourceProof>>;
  /** A directory that carries this restore's marker is taken as it is. */
  createDataDirectory(job: RestoreJob): Promise<Attempted<null>>;
  /** Removes what was fetched, and keeps the marker; an empty directory stays so. */
  clearDataDirectory(job: RestoreJob): Promise<Attempted<null>>;
  /** Parts recorded as fetched are not fetched again. */
  fetchBaseBackup(
    job: RestoreJob,
  ): Promise<Attempted<{ readonly bytes: number; readonly parts: number; readonly partsAlreadyFetched: number }>>;
  /** Writes whole files; with `dropTarget` the same without a target. */
  configureRecovery(input: {
    readonly job: RestoreJob;
    readonly dropTarget: boolean;
    readonly startNumber: number;
  }): Promise<Attempted<null>>;
  /** A server that runs already is left running. */
  startPostgres(input: { readonly job: RestoreJob; readonly startNumber: number }): Promise<Attempted<null>>;
  /** Only watches. */
  awaitRecovery(input: {
    readonly job: RestoreJob;
    readonly startNumber: number;
    readonly resumed: boolean;
  }): Promise<Attempted<RecoveryOutcome>>;
  /** A server that is stopped stays stopped. */
  stopPostgres(job: RestoreJob): Promise<Attempted<null>>;
  /** A server that has left recovery is left as it is. */
  promotePaused(job: RestoreJob): Promise<Attempted<null>>;
  /** Every statement leads to a wanted state; finished ones change nothing. */
  swapRoles(input: {
    readonly job: RestoreJob;
    readonly request: CompleteRestoreRequest;
  }): Promise<Attempted<{ readonly roles: readonly RoleReport[]; readonly locked: readonly string[] }>>;
  /** Writes whole files and restarts into them; an open server is left open. */
  openToClients(input: { readonly job: RestoreJob; readonly request: CompleteRestoreRequest }): Promise<Attempted<OpenedCluster>>;
  /** Stops the server and makes the directory unbootable; a directory that is that already stays. `kept`: there is one of this restore. */
  abandonRestore(input: { readonly job: RestoreJob; readonly reason: string }): Promise<Attempted<{ readonly kept: boolean }>>;
  /** Read-only. */
  checkBackupSource(job: BackupJob): Promise<Attempted<{ readonly pgVersion: number; readonly systemIdentifier: string }>>;
  /** Goes on with the session of an earlier attempt, or starts a new one and removes the objects of unfinished ones. */
  copyBaseBackup(job: BackupJob): Promise<Attempted<CopiedBaseBackup>>;
  /** Ends what an attempt to copy has left, or has yet: its session on the server. Without one it does nothing. */
  releaseBackupSession(job: BackupJob): Promise<Attempted<null>>;
  /** Only waits; switches the segment when the source is idle, which is harmless. */
  awaitWalArchived(input: { readonly job: BackupJob; readonly copied: CopiedBaseBackup }): Promise<Attempted<null>>;
  /** Writes the same documents again; a sentinel that is there is success. */
  completeBaseBackup(input: { readonly job: BackupJob; readonly copied: CopiedBaseBackup }): Promise<Attempted<BaseBackup>>;
  /** Another attempt makes another one of the name, a moment later; recovery stops at the first. */
  createRestorePoint(input: {
    readonly cluster: string;
    readonly archiveUrl: string;
    readonly name: string;
  }): Promise<Attempted<RestorePoint>>;
  /** Probes the store and sets settings to wanted values. */
  configureArchiving(input: { readonly cluster: string; readonly archiveUrl: string }): Promise<Attempted<ArchivingState>>;
  /** Restarts only when settings wait for it. */
  restartSource(input: { readonly cluster: string }): Promise<Attempted<null>>;
  /** Switches a segment and waits for it in the archive. */
  proveArchiving(input: {
    readonly cluster: string;
    readonly archiveUrl: string;
  }): Promise<Attempted<{ readonly segment: WalSegmentName }>>;
}

/** Where a restored cluster answers. */
export interface OpenedCluster {
  readonly listenAddresses: string;
  readonly socketDirectory: string;
  readonly settingsNotCarriedOver: readonly string[];
}
