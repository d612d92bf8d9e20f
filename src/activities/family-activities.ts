/** Activities about who was restored from whom: landing reports and the records of children. */
import { type FamilySearch, findLandingReport, readLineage } from '../archive/family.ts';
import { readLandingCommits } from '../archive/landing-commits.ts';
import { childOf, putChild, putLandingReport } from '../archive/landing-reports.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import { runActivity } from './activity.ts';
import { type ControlDependencies, walArchiveOf } from './dependencies.ts';
import { endClaim } from './restore-claim.ts';
import type { ControlActivities, StoreReportInput } from './types.ts';

/** As many members as fit in one answer of Temporal (64 KiB). */
const lineageAnswerMaximum = 100;

/** Makes the part of the control activities that is about families of clusters. */
export function createFamilyActivities(
  dependencies: ControlDependencies,
): Pick<ControlActivities, 'storeLandingReport' | 'readLandingReport' | 'readLineage'> {
  const searchWith = (signal: AbortSignal): FamilySearch => {
    const { openStore, configuredClusters } = dependencies;
    return { openStore, configured: configuredClusters(), signal };
  };
  return {
    storeLandingReport: (input) => runActivity(({ signal }) => store(dependencies, input, signal)),
    readLandingReport: ({ of }) => runActivity(({ signal }) => findLandingReport(searchWith(signal), of)),
    readLineage: ({ cluster }) => runActivity(({ signal }) => readLineage(searchWith(signal), cluster, lineageAnswerMaximum)),
  };
}

async function store(dependencies: ControlDependencies, input: StoreReportInput, signal: AbortSignal): Promise<LandingReport> {
  const report = await withCommits(dependencies, input, signal);
  await putLandingReport(dependencies.openStore(input.archiveUrl), report, { signal });
  await tellParent(dependencies, report, signal);
  await endClaim(() => dependencies.openStore(report.parentArchive), report.restoreId);
  return report;
}

/** PostgreSQL takes a rollback for a completed transaction too, and names none that it did not stop at. */
async function withCommits(
  dependencies: ControlDependencies,
  { report, wal }: StoreReportInput,
  signal: AbortSignal,
): Promise<LandingReport> {
  const { endLsn, endReason, stop, lastCommitKept, firstCommitLeftOut, parentArchive } = report;
  if (wal === undefined || endLsn === null) return report;
  try {
    const archive = walArchiveOf(dependencies.openStore(parentArchive), { ...dependencies, segmentBytes: wal.segmentBytes });
    const isLastReplayed = stop === null || !['before', 'before-lsn'].includes(stop.kind);
    const { kept, leftOut } = await readLandingCommits(archive, { ...wal, endLsn, isLastReplayed, signal });
    const next = endReason === 'target-reached' ? leftOut : undefined;
    return {
      ...report,
      lastCommitKept: lastCommitKept === null ? null : (kept ?? lastCommitKept),
      firstCommitLeftOut: firstCommitLeftOut ?? next ?? null,
    };
  } catch (error) {
    // The archive cannot be read now: what PostgreSQL said is told alone.
    if (error instanceof WalkbackError) return report;
    throw error;
  }
}

async function tellParent({ openStore }: ControlDependencies, report: LandingReport, signal: AbortSignal): Promise<void> {
  try {
    await putChild(openStore(report.parentArchive), childOf(report), { signal });
  } catch (error) {
    // Who may only read the parent's archive may restore from it; the child's own report names its parent all the same.
    if (!(error instanceof WalkbackError) || error.code !== 'STORAGE_ACCESS_DENIED') throw error;
  }
}
