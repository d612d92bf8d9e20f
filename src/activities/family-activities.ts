/** Activities about who was restored from whom: landing reports and the records of children. */
import { type FamilySearch, findLandingReport, readLineage } from '../archive/family.ts';
import { readLandingCommits } from '../archive/landing-commits.ts';
import { childOf, putChild, putLandingReport } from '../archive/landing-reports.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import { runActivity } from './activity.ts';
import { type ControlDependencies, walArchiveOf } from './dependencies.ts';
import { endClaim } from './restore-claim.ts';
import type { UndoRequest } from '../domain/undo-request.ts';
import type { FamilyActivities, PlannedUndo, StoreReportInput } from './family-types.ts';

/** As many members as fit in one answer of Temporal (64 KiB). */
const lineageAnswerMaximum = 100;

/** Makes the part of the control activities that is about families of clusters. */
export function createFamilyActivities(dependencies: ControlDependencies): FamilyActivities {
  const searchWith = (signal: AbortSignal): FamilySearch => {
    const { openStore, configuredClusters } = dependencies;
    return { openStore, configured: configuredClusters(), signal };
  };
  return {
    storeLandingReport: (input) => runActivity(({ signal }) => store(dependencies, input, signal)),
    readLandingReport: ({ of }) => runActivity(({ signal }) => findLandingReport(searchWith(signal), of)),
    planUndo: (request) => runActivity(({ signal }) => planUndo(dependencies, searchWith(signal), request)),
    readLineage: ({ cluster }) => runActivity(({ signal }) => readLineage(searchWith(signal), cluster, lineageAnswerMaximum)),
  };
}

/** @throws WalkbackError ALREADY_RUNNING while the restore runs, NOT_RETIRED, NOT_FOUND without a report and without the source's name */
async function planUndo(dependencies: ControlDependencies, search: FamilySearch, request: UndoRequest): Promise<PlannedUndo> {
  const { restoreId, cluster } = request;
  if (await dependencies.isWorkflowRunning(restoreId)) {
    throw new WalkbackError('ALREADY_RUNNING', `The restore ${restoreId} runs still.`, {
      hint: 'Cancel it: a restore that does not come to its end lifts the fence by itself.',
    });
  }
  const report = await findLandingReport(search, restoreId).catch((error: unknown) => {
    if (cluster !== undefined && error instanceof WalkbackError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  });
  if (report === undefined) return { source: dependencies.locateCluster(cluster ?? ''), child: null };
  if (report.retired === null || report.retired === undefined) {
    throw new WalkbackError('NOT_RETIRED', `The restore ${restoreId} did not retire ${report.cluster}.`, {
      facts: { cluster: report.cluster },
    });
  }
  const { name, host, archive, port } = report;
  return { source: dependencies.locateCluster(report.retired.cluster), child: { name, host, archiveUrl: archive, port } };
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
