/** A landing report for people: on a terminal, and on the operator's page in the Temporal UI. */
import type { SalvageReport } from './early-end.ts';
import { formatInstant, parseInstant } from './instant.ts';
import { describeStop } from './landing-proof.ts';
import type {
  CommitFact,
  DecisionReport,
  EndReason,
  LandingReport,
  ProtectionReport,
  RetiredSource,
  RoleReport,
} from './landing-report.ts';
import { renderFinding } from './restored-findings.ts';
import { describeTarget } from './recovery-target.ts';

const reasons: Readonly<Record<EndReason, string>> = {
  'target-reached': 'target reached',
  'ended-early-not-proven': 'end of WAL, NOT proven to be the state at the target',
  'ended-early-proven-complete': 'end of WAL, proven to be the state at the target',
  'end-of-wal': 'end of the archived WAL, as asked',
};

type Row = readonly [label: string, text: string];

/** The report as a page for a terminal: aligned, without colour. */
export function renderLandingReport(report: LandingReport): string {
  const rows = [...landingRows(report), ...placeRows(report), tookRow(report)];
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, text]) => `${label.padEnd(width)}  ${text}`).join('\n');
}

/** The same with everything that the report knows: each step's time, and PostgreSQL's own words. */
export function renderWholeLandingReport(report: LandingReport): string {
  const steps = report.steps.map(
    ({ name, milliseconds, attempts }) =>
      `  ${name.padEnd(22)}${inSeconds(milliseconds).padStart(9)}${attempts > 1 ? `  attempt ${attempts}` : ''}`,
  );
  return [
    renderLandingReport(report),
    ...section('Steps', steps),
    ...section('Findings', findingLines(report)),
    ...section(
      'PostgreSQL said',
      report.postgresLog.map((line) => `  ${line}`),
    ),
    ...section(
      'Settings of the source that were not carried over',
      report.settingsNotCarriedOver.map((name) => `  ${name}`),
    ),
  ].join('\n');
}

/** The landing in Markdown, as a list: the Temporal UI runs the cells of a table together. */
export function renderLandingMarkdown(report: LandingReport): string {
  const lines = [...landingRows(report).slice(1), ...placeRows(report), tookRow(report)].map(([label, text]) => `- **${label}:** ${text}`);
  const findings = report.findings.map((finding) => `- ${renderFinding(finding)}`);
  const words = report.postgresLog.map((line) => `    ${line}`);
  return [
    '### Landing report',
    ...lines,
    ...(findings.length === 0 ? [] : ['', '### Findings', ...findings]),
    ...(words.length === 0 ? [] : ['', '### PostgreSQL said', '', ...words]),
  ].join('\n');
}

function landingRows(report: LandingReport): Row[] {
  return [
    ['restored', `${report.cluster} as ${report.name}, on ${report.host}`],
    ['asked for', describeTarget(report.requestedTarget)],
    ['landed', `${reasons[report.endReason]}${report.stop === null ? '' : `: stopped ${describeStop(report.stop)}`}`],
    ['last commit kept', report.lastCommitKept === null ? 'none after the base backup' : renderCommit(report.lastCommitKept)],
    ['first left out', report.firstCommitLeftOut === null ? 'none' : renderCommit(report.firstCommitLeftOut)],
    ...(report.earlyEndProof === null ? [] : [['proof', report.earlyEndProof] as const]),
    ...(report.earlyEndDoubt === null ? [] : [['doubt', report.earlyEndDoubt] as const]),
    ...report.decisions.map((decision) => ['decided', renderDecision(decision)] as const),
    ...(report.salvage === undefined ? [] : [['salvaged', renderSalvage(report.salvage)] as const]),
    ['timeline', `${report.timeline}, left ${report.parentTimeline}${report.endLsn === null ? '' : ` at ${report.endLsn}`}`],
    ...(report.damagedBackups ?? []).map(({ backup, reason }) => ['given up', `${backup}: ${reason}`] as const),
    [
      'base backup',
      `${report.backup}, ${report.fetchedBytes} bytes fetched in ${report.fetchedParts} parts, then ${report.segmentsReplayed} WAL segments`,
    ],
  ];
}

function placeRows(report: LandingReport): Row[] {
  return [
    ['listens on', `${report.listenAddresses} port ${report.port}`],
    ['data directory', report.dataDirectory],
    ['archives to', report.archive],
    ...(report.retired === null ? [] : [['retired', renderRetired(report.retired, report.restoreId)] as const]),
    ...(report.protection === null ? [] : [['protected', renderProtection(report.protection)] as const]),
    ...report.roles.map((role) => ['role', renderRole(role)] as const),
    ...(report.lockedRoles.length === 0 ? [] : [['locked roles', report.lockedRoles.join(', ')] as const]),
    ...report.checks.map((check) => ['check', `${check.ok ? 'ok' : 'WRONG'}: ${check.sql} = ${check.actual ?? 'NULL'}`] as const),
    ...findingsRow(report),
  ];
}

function findingLines({ findings, findingsLeftOut }: LandingReport): string[] {
  return [...findings.map((finding) => `  ${renderFinding(finding)}`), ...(findingsLeftOut === 0 ? [] : [`  and ${findingsLeftOut} more`])];
}

/** How many of each kind; what they are is told by the whole report. */
function findingsRow({ findings, findingsLeftOut }: LandingReport): Row[] {
  if (findings.length === 0) return [];
  const kinds = [...new Set(findings.map(({ kind }) => kind))].map(
    (kind) => `${findings.filter((finding) => finding.kind === kind).length} ${kind}`,
  );
  return [
    ['findings', `${kinds.join(', ')}${findingsLeftOut === 0 ? '' : `, and ${findingsLeftOut} more`}; \`walkback report\` tells them`],
  ];
}

function tookRow(report: LandingReport): Row {
  const { steps, recoveryStarts, totalMilliseconds } = report;
  const starts = recoveryStarts > 1 ? `, PostgreSQL started ${recoveryStarts} times` : '';
  return [
    'took',
    `${inSeconds(totalMilliseconds)}${starts}: ${steps.map((step) => `${step.name} ${(step.milliseconds / 1000).toFixed(1)}`).join(', ')}`,
  ];
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', title, ...lines];
}

function inSeconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

function renderRole({ role, newName, passwordFile, oldPasswordRefused, oldPasswordProof }: RoleReport): string {
  const name = role === newName ? `${role} keeps its name` : `${role} is now ${newName}`;
  if (passwordFile === null) return `${name}; its password is the old one, as asked`;
  return `${name}; password in ${passwordFile}; old password ${oldPasswordRefused ? 'refused' : 'NOT REFUSED'} (${oldPasswordProof})`;
}

function renderRetired({ cluster, host, dataDirectory, keepUntil }: RetiredSource, restoreId: string): string {
  return `${cluster}, fenced in ${dataDirectory} on ${host}; to be kept until ${keepUntil}; \`walkback undo ${restoreId}\` brings it back`;
}

function renderProtection({ backup, failure }: ProtectionReport): string {
  return backup === null
    ? `NOT YET: the first base backup failed: ${failure ?? 'nothing is known'}`
    : `by its first base backup, ${backup}`;
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
