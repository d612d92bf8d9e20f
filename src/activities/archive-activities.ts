/** Activities that look after an archive: its proof and its window. */
import { verifyArchive } from '../archive/archive-verification.ts';
import { readArchiveWindow } from '../archive/read-window.ts';
import { boundedReport } from '../domain/archive-findings.ts';
import { windowLimitsOfAnswer } from '../domain/archive-window.ts';
import { runActivity } from './activity.ts';
import { type ControlDependencies, walArchiveOf } from './dependencies.ts';
import type { ControlActivities } from './types.ts';

/** Makes the part of the control activities that is about whole archives. */
export function createArchiveActivities(dependencies: ControlDependencies): Pick<ControlActivities, 'verifyArchive' | 'readArchiveWindow'> {
  const open = (cluster: string) => {
    const store = dependencies.openStore(dependencies.locateCluster(cluster).archiveUrl);
    const openWal = (segmentBytes?: number) => walArchiveOf(store, { ...dependencies, segmentBytes });
    return { cluster, store, openWal, cipher: dependencies.cipher };
  };
  return {
    verifyArchive: ({ cluster, ...input }) =>
      runActivity(async (step) => {
        const options = { ...open(cluster), ...input, signal: step.signal };
        return boundedReport(await verifyArchive({ ...options, onProgress: (progress) => step.report(progress) }));
      }),
    readArchiveWindow: ({ cluster }) =>
      runActivity(({ signal }) => {
        const { store, ...archive } = open(cluster);
        return readArchiveWindow(store, { ...archive, limits: windowLimitsOfAnswer, signal });
      }),
  };
}
