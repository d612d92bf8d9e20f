/** The answer to a restore: where it was asked to land, where it landed, and how that is known. */
import type { SalvageReport } from './early-end.ts';
import { formatInstant, parseInstant } from './instant.ts';
import { describeStop } from './landing-proof.ts';
import type { RecoveryStop } from './recovery-events.ts';
import { describeTarget, type RecoveryTarget } from './recovery-target.ts';
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

/** What became of a role. */
export interface RoleReport {
  readonly role: string;
  readonly newName: string;
  /** File on the host that holds the new password. */
  readonly passwordFile: string;
  readonly oldPasswordRefused: boolean;
  readonly oldPasswordProof: 'login-attempt' | 'verifier-comparison';
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
  readonly requestedTarget: RecoveryTarget;
  readonly endReason: EndReason;
  readonly lastCommitKept: CommitFact | null;
  readonly firstCommitLeftOut: CommitFact | null;
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
  readonly fetchedBytes: number;
  readonly segmentsReplayed: number;
  readonly roles: readonly RoleReport[];
  readonly lockedRoles: readonly string[];
  readonly checks: readonly CheckReport[];
  /** PostgreSQL's own lines about the landing. */
  readonly postgresLog: readonly string[];
  readonly settingsNotCarriedOver: readonly string[];
  readonly steps: readonly StepReport[];
  readonly totalMilliseconds: number;
}

const reasons: Readonly<Record<EndReason, string>> = {
  'target-reached': 'target reached',
  'ended-early-not-proven': 'end of WAL, NOT proven to be the state at the target',
  'ended-early-proven-complete': 'end of WAL, proven to be the state at the target',
  'end-of-wal': 'end of the archived WAL, as asked',
};

/** The report as a page for a terminal: aligned, without colour. */
export function renderLandingReport(report: LandingReport): string {
  const rows: [string, string][] = [
    ['restored', `${report.cluster} as ${report.name}, on ${report.host}`],
    ['asked for', describeTarget(report.requestedTarget)],
    ['landed', `${reasons[report.endReason]}${report.stop === null ? '' : `: stopped ${describeStop(report.stop)}`}`],
    ['last commit kept', report.lastCommitKept === null ? 'none after the base backup' : renderCommit(report.lastCommitKept)],
    ['first left out', report.firstCommitLeftOut === null ? 'none' : renderCommit(report.firstCommitLeftOut)],
    ...(report.earlyEndProof === null ? [] : ([['proof', report.earlyEndProof]] as [string, string][])),
    ...(report.earlyEndDoubt === null ? [] : ([['doubt', report.earlyEndDoubt]] as [string, string][])),
    ...report.decisions.map((decision): [string, string] => ['decided', renderDecision(decision)]),
    ...(report.salvage === undefined ? [] : ([['salvaged', renderSalvage(report.salvage)]] as [string, string][])),
    ['timeline', `${report.timeline}${report.endLsn === null ? '' : `, at ${report.endLsn}`}`],
    ['base backup', `${report.backup}, then ${report.segmentsReplayed} WAL segments`],
    ['listens on', `${report.listenAddresses} port ${report.port}`],
    ['data directory', report.dataDirectory],
    ['archives to', report.archive],
    ...report.roles.map((role): [string, string] => [
      'role',
      `${role.role} is now ${role.newName}; password in ${role.passwordFile}; old password ${role.oldPasswordRefused ? 'refused' : 'NOT REFUSED'} (${role.oldPasswordProof})`,
    ]),
    ...(report.lockedRoles.length === 0 ? [] : ([['locked roles', report.lockedRoles.join(', ')]] as [string, string][])),
    ...report.checks.map((check): [string, string] => ['check', `${check.ok ? 'ok' : 'WRONG'}: ${check.sql} = ${check.actual ?? 'NULL'}`]),
    [
      'took',
      `${(report.totalMilliseconds / 1000).toFixed(1)} s: ${report.steps.map((step) => `${step.name} ${(step.milliseconds / 1000).toFixed(1)}`).join(', ')}`,
    ],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, text]) => `${label.padEnd(width)}  ${text}`).join('\n');
}

function renderDecision({ decision, at, reason, target }: DecisionReport): string {
  return `${decision}${target === null ? '' : ` to ${describeTarget(target)}`} at ${at}${reason === null ? '' : `: ${reason}`}`;
}

function renderSalvage({ segments, partial, lastCommit }: SalvageReport): string {
  const stored = `${segments} WAL segments${partial === null ? '' : ` and the unfinished ${partial}`}`;
  return lastCommit === null ? stored : `${stored}; the last commit in it is of ${renderCommit(lastCommit)}`;
}

function renderCommit(commit: CommitFact): string {
  return `${formatInstant(parseInstant(commit.time))}${commit.xid === null ? '' : ` (transaction ${commit.xid})`}`;
}
