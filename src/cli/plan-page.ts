/** The plan of a restore as a page for a terminal. */
import { formatInstant, parseInstant } from '../domain/instant.ts';
import { errorOfChecks, type PlanCheck } from '../domain/plan-check.ts';
import type { PlannedWal, PlanReport } from '../domain/plan-report.ts';
import type { Rate } from '../domain/restore-rates.ts';
import { describeTarget } from '../domain/recovery-target.ts';
import { errorDocument, formatBytes, formatDuration, type Output, renderTable } from './output.ts';

/** Prints the plan; the exit code is that of the restore's first refusal. */
export function tellPlan(plan: PlanReport, output: Output): void {
  const error = errorOfChecks(plan.checks);
  const document = { plan };
  output.answer(error === undefined ? { ok: true, ...document } : { ...errorDocument(error), ...document }, renderPlan(plan));
  if (error === undefined) return;
  output.note(`Try: ${error.hint}`);
  process.exitCode = error.exitCode;
}

/** The whole page. */
export function renderPlan(plan: PlanReport): string {
  const verdict = plan.isPossible ? 'Nothing was done. A restore by this plan can begin.' : 'Nothing was done. A restore would be REFUSED.';
  const rows: (readonly [string, string])[] = [
    ['plan', `${plan.cluster} as ${plan.name}, on ${plan.host}, ${plan.dataDirectory}, port ${plan.port}`],
    ['target', describeTarget(plan.target)],
    ...backupRows(plan),
    ...(plan.wal === null ? [] : walRows(plan.wal)),
    ...estimateRows(plan),
    ...windowRows(plan),
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return [
    ...rows.map(([label, text]) => `${label.padEnd(width)}  ${text}`),
    '',
    renderTable(['CHECK', 'VERDICT', 'WHAT WAS FOUND'], plan.checks.map(checkRow)),
    '',
    verdict,
  ].join('\n');
}

function backupRows({ backup }: PlanReport): (readonly [string, string])[] {
  if (backup === null) return [];
  const chain = backup.chain.length === 1 ? [] : ([['chain', backup.chain.join(' <- ')]] as const);
  return [
    ['base backup', `${backup.name}, ${backup.kind}, PostgreSQL ${Math.floor(backup.pgVersion / 10_000)}`],
    ...chain,
    ['size', `${formatBytes(backup.storedBytes)} stored, ${formatBytes(backup.restoredBytes)} on disk`],
  ];
}

function walRows(wal: PlannedWal): (readonly [string, string])[] {
  const ranges = wal.ranges.map(({ timeline, first, last }) => `timeline ${timeline}: ${first} to ${last}`);
  const closed = wal.closedAt === null ? '' : `; the last was closed ${formatInstant(wal.closedAt)}`;
  const toTarget =
    wal.segmentsToTarget === null
      ? 'how many of them up to the target only replay can tell'
      : `${wal.segmentsToTarget} of them up to the target`;
  return [
    ['WAL', `${wal.segmentCount} segments, ${toTarget}, about ${formatBytes(wal.storedBytes)} stored${closed}`],
    ...ranges.map((range) => ['', range] as const),
    ...(wal.histories.length === 0 ? [] : ([['', wal.histories.join(', ')]] as const)),
  ];
}

function estimateRows({ estimate }: PlanReport): (readonly [string, string])[] {
  if (estimate === null) return [];
  const { totalMilliseconds, fetchMilliseconds, replayMilliseconds, fetchBytes, replayBytes } = estimate;
  const parts = `${formatBytes(fetchBytes)} fetched in ${formatDuration(fetchMilliseconds)}, ${formatBytes(replayBytes)} replayed in ${formatDuration(replayMilliseconds)}`;
  return [
    ['estimate', `about ${formatDuration(totalMilliseconds)}: ${parts}`],
    ['rates', `fetch ${rateText(estimate.rates.fetch)}; replay ${rateText(estimate.rates.replay)}`],
  ];
}

function rateText({ bytesPerSecond, restores }: Rate): string {
  const origin =
    restores === 0 ? 'assumed' : restores === 1 ? 'measured in an earlier restore' : `the median of ${restores} earlier restores`;
  return `${formatBytes(bytesPerSecond)}/s, ${origin}`;
}

function windowRows({ window }: PlanReport): (readonly [string, string])[] {
  const { earliest, latest, holes, nearest } = window;
  const from = earliest === null ? 'nothing can be restored' : `just after ${formatInstant(earliest.instant)}`;
  const to = latest === null ? '' : ` to ${latest.instant === null ? `the end of ${latest.segment}` : formatInstant(latest.instant)}`;
  return [
    ['window', `${from}${to}`],
    ...holes.map(({ first, last, after }) => {
      const before = after === undefined ? '' : `; the latest instant before it is about ${formatInstant(parseInstant(after))}`;
      return ['hole', `${first === last ? first : `${first} to ${last}`} missing${before}`] as const;
    }),
    ...(nearest === null ? [] : ([['nearest', nearestText(nearest)]] as const)),
  ];
}

function nearestText({ before, after }: NonNullable<PlanReport['window']['nearest']>): string {
  const texts = [
    ...(before === null ? [] : [`the last restorable instant before the target is ${formatInstant(before)}`]),
    ...(after === null ? [] : [`the first after it is just after ${formatInstant(after)}`]),
  ];
  return texts.length === 0 ? 'no instant around the target can be restored' : texts.join('; ');
}

function checkRow({ name, verdict, text }: PlanCheck): readonly string[] {
  return [name, verdict === 'refusal' ? 'REFUSAL' : verdict, text];
}
