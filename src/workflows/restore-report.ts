/** The landing report of a restore: put together from its steps, and stored in the restored cluster's archive. */
import type { OpenedCluster, RestoreJob } from '../activities/types.ts';
import type { CheckReport, LandingReport } from '../domain/landing-report.ts';
import type { RestoredFindings } from '../domain/restored-findings.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import { walkbackErrorOf } from './failures.ts';
import type { Recovered } from './recovered.ts';
import type { RestoreSteps } from './restore-steps.ts';

/** What the steps of a restore gave. */
export interface ReportParts {
  readonly request: CompleteRestoreRequest;
  readonly job: RestoreJob;
  readonly recovered: Recovered;
  readonly swapped: { readonly roles: LandingReport['roles']; readonly locked: readonly string[] };
  readonly checks: readonly CheckReport[];
  /** Undefined in histories of older workers. */
  readonly inventory: RestoredFindings | undefined;
  readonly opened: OpenedCluster;
  readonly fetched: { readonly bytes: number; readonly parts: number; readonly partsAlreadyFetched: number };
  readonly damagedBackups: NonNullable<LandingReport['damagedBackups']>;
  readonly decisions: LandingReport['decisions'];
  readonly retired: LandingReport['retired'];
  readonly steps: RestoreSteps;
  readonly startedMs: number;
}

/** Puts the report together. */
export function reportOf(parts: ReportParts): LandingReport {
  const { request, job, recovered, swapped, checks, opened, fetched } = parts;
  const { steps } = parts.steps.state;
  return {
    restoreId: job.restoreId,
    cluster: request.cluster,
    name: request.name,
    host: request.host,
    dataDirectory: request.dataDirectory,
    port: request.port,
    ...opened,
    archive: job.childArchiveUrl,
    parentArchive: job.archiveUrl,
    parentTimeline: job.plan.timeline,
    restoredAt: new Date().toISOString(),
    ...recovered,
    decisions: parts.decisions,
    backup: job.plan.backup.name,
    damagedBackups: parts.damagedBackups,
    fetchedBytes: fetched.bytes,
    fetchedParts: fetched.parts,
    partsAlreadyFetched: fetched.partsAlreadyFetched,
    recoveryStarts: steps.filter(({ name }) => name === 'start-postgres').length,
    roles: swapped.roles,
    lockedRoles: swapped.locked,
    checks,
    findings: parts.inventory?.findings ?? [],
    findingsLeftOut: parts.inventory?.leftOut ?? 0,
    retired: parts.retired,
    protection: null,
    steps,
    totalMilliseconds: Date.now() - parts.startedMs,
  };
}

/**
 * The cluster is open by now: neither a store that is down nor a cancellation takes it away again, and the result holds the report anyway.
 * @returns the report as it was stored, completed from the WAL; as it was when it could not be stored
 */
export async function storeReport(
  report: LandingReport,
  { job, steps }: { readonly job: RestoreJob; readonly steps: RestoreSteps },
): Promise<LandingReport> {
  const { view, walSegmentBytes } = job.plan;
  const wal = { view, segmentBytes: walSegmentBytes };
  return await steps.world.uncancelled(async () => {
    try {
      const stored = await steps.run('report', 'Store the landing report in the archive', (summary) =>
        steps.world.control.storeLandingReport(summary, { archiveUrl: report.archive, report, wal }),
      );
      // Workers of before gave nothing back.
      return stored ?? report;
    } catch (error) {
      steps.enter('report', `The landing report could not be stored: ${walkbackErrorOf(error).message}`);
      return report;
    }
  });
}
