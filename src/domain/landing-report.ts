/** The answer to a restore: where it was asked to land, where it landed, and how that is known. */
import type { SalvageReport } from './early-end.ts';
import type { RecoveryStop } from './recovery-events.ts';
import type { RestoredFinding } from './restored-findings.ts';
import type { RecoveryTarget } from './recovery-target.ts';
import type { TimelineId } from './wal-segment.ts';

/** Why replay stopped. */
export type EndReason = 'target-reached' | 'ended-early-proven-complete' | 'ended-early-not-proven' | 'end-of-wal';

/** What was decided while the restore waited. */
export interface DecisionReport {
  readonly decision: 'promote' | 'advance' | 'retry' | 'abort';
  /** RFC 3339. */
  readonly at: string;
  /** As the one who decided gave it. */
  readonly reason: string | null;
  /** Of `advance`: the target from then on. */
  readonly target: RecoveryTarget | null;
}

/** A transaction at the landing. */
export interface CommitFact {
  /** By the source's clock. */
  readonly time: string;
  /** Transaction id, where PostgreSQL's log tells it. */
  readonly xid: string | null;
}

/** One step of the restore. */
export interface StepReport {
  readonly name: string;
  readonly milliseconds: number;
  /** Attempts of the activity that succeeded; 1 is a first try. */
  readonly attempts: number;
}

/** A check's answer. */
export interface CheckReport {
  readonly sql: string;
  readonly expected: string | null;
  readonly actual: string | null;
  readonly ok: boolean;
}

/** The source, when the restore retired it. */
export interface RetiredSource {
  readonly cluster: string;
  readonly host: string;
  readonly dataDirectory: string;
  /** RFC 3339: until then its directory is to be kept. */
  readonly keepUntil: string;
}

/** The first base backup of the restored cluster: one of both is null. */
export interface ProtectionReport {
  readonly backup: string | null;
  /** Why there is none. */
  readonly failure: string | null;
}

/** What became of a role. */
export interface RoleReport {
  readonly role: string;
  readonly newName: string;
  /** File on the host that holds the new password; null where the old one was to be kept. */
  readonly passwordFile: string | null;
  readonly oldPasswordRefused: boolean;
  readonly oldPasswordProof: 'login-attempt' | 'verifier-comparison' | 'kept';
}

/** A base backup that a restore had chosen and could not fetch. */
export interface DamagedBackup {
  readonly backup: string;
  /** Of the damaged or missing object, where it is known: of this backup, or of one that it builds on. */
  readonly key: string | null;
  readonly reason: string;
}

/** The whole report; JSON-safe, below 64 KiB. */
export interface LandingReport {
  readonly restoreId: string;
  readonly cluster: string;
  readonly name: string;
  readonly host: string;
  readonly dataDirectory: string;
  readonly port: number;
  readonly listenAddresses: string;
  /** Private directory of the unix socket on the host. */
  readonly socketDirectory: string;
  readonly archive: string;
  /** Archive of the cluster that it was restored from. */
  readonly parentArchive: string;
  /** Timeline that was left for `timeline`. */
  readonly parentTimeline: TimelineId;
  /** RFC 3339, by the worker's clock: when it was open to clients. */
  readonly restoredAt: string;
  readonly requestedTarget: RecoveryTarget;
  readonly endReason: EndReason;
  readonly lastCommitKept: CommitFact | null;
  readonly firstCommitLeftOut: CommitFact | null;
  /** Where the last record begins that was read: replayed too, unless `stop` is before it. Null where PostgreSQL's log did not tell. */
  readonly endLsn: string | null;
  readonly timeline: TimelineId;
  /** Why an early end is the state at the target; null when the target was reached. */
  readonly earlyEndProof: string | null;
  /** Why an early end that was taken all the same is not proven to be the state at the target. */
  readonly earlyEndDoubt: string | null;
  /** Where PostgreSQL's log says that it stopped; null at the end of the WAL. */
  readonly stop: RecoveryStop | null;
  readonly decisions: readonly DecisionReport[];
  readonly sourceFlushed: boolean;
  /** What a dead source had left and the archive holds now; absent unless the request says to salvage it. */
  readonly salvage?: SalvageReport;
  readonly backup: string;
  /** Newer ones that were given up, because the archive does not hold them as they were written; absent in reports of earlier releases. */
  readonly damagedBackups?: readonly DamagedBackup[];
  readonly fetchedBytes: number;
  /** Parts that the attempt fetched that ended the fetch, and those that were there already. */
  readonly fetchedParts: number;
  readonly partsAlreadyFetched: number;
  readonly segmentsReplayed: number;
  /** How often PostgreSQL was started in recovery: 1 when nothing came between and no target was dropped. */
  readonly recoveryStarts: number;
  readonly roles: readonly RoleReport[];
  readonly lockedRoles: readonly string[];
  readonly checks: readonly CheckReport[];
  /** What came along from the source and somebody should know of. */
  readonly findings: readonly RestoredFinding[];
  /** Findings that are not in the list, because there are too many. */
  readonly findingsLeftOut: number;
  /** Null: it runs on, or was only stopped. */
  readonly retired: RetiredSource | null;
  /** Null: it was not asked for. */
  readonly protection: ProtectionReport | null;
  /** PostgreSQL's own lines about the landing. */
  readonly postgresLog: readonly string[];
  readonly settingsNotCarriedOver: readonly string[];
  readonly steps: readonly StepReport[];
  readonly totalMilliseconds: number;
}
