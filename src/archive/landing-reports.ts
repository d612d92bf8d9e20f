/** Landing reports in the archives of restored clusters, and the records of children in those of their parents. */
import { WalkbackError } from '../domain/errors.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import type { ChildRecord } from '../domain/lineage.ts';
import { type ObjectStore, readObject } from '../storage/object-store.ts';
import { damaged, putDocument, readDocument, signalOption } from './documents/stored-document.ts';
import { childKey, childrenPrefix, landingReportKey, landingReportsPrefix } from './layout.ts';

const reportMaximumBytes = 1024 * 1024;
/** A prefix is given to one restored cluster; more reports than a few come from restores whose clusters were removed by hand. */
const reportsReadMaximum = 100;
/** Children of one cluster that are read. */
const childrenMaximum = 1000;

interface SignalOption {
  readonly signal?: AbortSignal | undefined;
}

/** Stores a report in the archive of the restored cluster. */
export async function putLandingReport(store: ObjectStore, report: LandingReport, { signal }: SignalOption = {}): Promise<void> {
  const text = `${JSON.stringify(report, undefined, 2)}\n`;
  await store.put(landingReportKey(report.restoreId), Buffer.from(text), signalOption(signal));
}

/** The report of a restore, where the archive is that of the restored cluster; else undefined. @throws WalkbackError OBJECT_DAMAGED */
export async function readLandingReport(
  store: ObjectStore,
  restoreId: string,
  { signal }: SignalOption = {},
): Promise<LandingReport | undefined> {
  return await readReport(store, landingReportKey(restoreId), signal);
}

/** The report of the restore that the cluster of the archive comes from; undefined when it was not restored. @throws WalkbackError OBJECT_DAMAGED */
export async function readOwnLandingReport(
  store: ObjectStore,
  cluster: string,
  { signal }: SignalOption = {},
): Promise<LandingReport | undefined> {
  const reports: LandingReport[] = [];
  for await (const { key } of store.list(landingReportsPrefix, { shallow: true, ...signalOption(signal) })) {
    if (reports.length >= reportsReadMaximum) break;
    const report = await readReport(store, key, signal);
    if (report?.name === cluster) reports.push(report);
  }
  return reports.toSorted((a, b) => (a.restoredAt < b.restoredAt ? -1 : 1)).at(-1);
}

async function readReport(store: ObjectStore, key: string, signal: AbortSignal | undefined): Promise<LandingReport | undefined> {
  const bytes = await readObject(store, key, { maximumBytes: reportMaximumBytes, ...signalOption(signal) });
  if (bytes === undefined) return undefined;
  try {
    const report = JSON.parse(bytes.toString()) as LandingReport;
    if (typeof report.restoreId === 'string' && typeof report.name === 'string') return report;
  } catch (cause) {
    throw damaged(key, 'it is not JSON', cause);
  }
  throw damaged(key, 'it is not a landing report');
}

/** Remembers a child in its parent's archive; a child of the same name that was there before is replaced. */
export async function putChild(store: ObjectStore, child: ChildRecord, { signal }: SignalOption = {}): Promise<void> {
  await putDocument(store, childKey(child.name), { text: JSON.stringify(child), ...signalOption(signal) });
}

/** What was restored from the cluster of the archive, the oldest first. @throws WalkbackError OBJECT_DAMAGED */
export async function readChildren(store: ObjectStore, { signal }: SignalOption = {}): Promise<ChildRecord[]> {
  const children: ChildRecord[] = [];
  for await (const { key } of store.list(childrenPrefix, { shallow: true, ...signalOption(signal) })) {
    if (children.length >= childrenMaximum) break;
    const child = await readDocument(store, key, { parse: parseChild, ...signalOption(signal) });
    if (child !== undefined) children.push(child);
  }
  return children.toSorted((a, b) => (a.restoredAt < b.restoredAt ? -1 : 1));
}

/** Landing reports of what was restored from the cluster of the archive, the newest first, as far as they are there and can be read. */
export async function newestReports(
  store: ObjectStore,
  openStore: (url: string) => ObjectStore,
  { limit, signal }: SignalOption & { readonly limit: number },
): Promise<LandingReport[]> {
  const readable = async <T>(read: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await read();
    } catch (error) {
      // A record or an archive that is gone, closed to us or damaged tells nothing, and nothing depends on it.
      if (!(error instanceof WalkbackError) || signal?.aborted === true) throw error;
      return undefined;
    }
  };
  const children = (await readable(() => readChildren(store, { signal }))) ?? [];
  const reports: LandingReport[] = [];
  for (const { archive, restoreId } of children.toReversed().slice(0, limit)) {
    const report = await readable(() => readLandingReport(openStore(archive), restoreId, { signal }));
    if (report !== undefined) reports.push(report);
  }
  return reports;
}

function parseChild(text: string): ChildRecord {
  const child = JSON.parse(text) as ChildRecord;
  if (typeof child.name === 'string' && typeof child.archive === 'string' && typeof child.restoreId === 'string') return child;
  throw new SyntaxError('it is not the record of a restored cluster');
}

/** The child as its parent's archive remembers it. */
export function childOf(report: LandingReport): ChildRecord {
  return {
    name: report.name,
    archive: report.archive,
    parent: report.cluster,
    restoreId: report.restoreId,
    host: report.host,
    restoredAt: report.restoredAt,
    requestedTarget: report.requestedTarget,
    parentTimeline: report.parentTimeline,
    lsn: report.endLsn,
    lastCommit: report.lastCommitKept?.time ?? null,
    timeline: report.timeline,
  };
}
