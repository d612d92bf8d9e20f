/** What a caller asks for when a restore is to be undone: the source that it retired runs again. */

import { WalkbackError } from './errors.ts';
import type { StepReport } from './landing-report.ts';
import { isClusterName } from './restore-request.ts';

/** An undo as asked for. */
export interface UndoRequest {
  /** Id of the restore. */
  readonly restoreId: string;
  /**
   * `stop`: the restored cluster is shut down first, its last WAL archived, its directory kept; `keep`: it runs on beside the source, on another
   * port. Default stop.
   */
  readonly child?: 'stop' | 'keep';
  /** The source, where the restore came to no end and so has no landing report. */
  readonly cluster?: string;
}

const idMaximumLength = 255;

/** Checks a request's form. @throws WalkbackError INVALID_REQUEST */
export function checkedUndoRequest(request: UndoRequest): UndoRequest {
  const { restoreId, child, cluster } = request;
  if (typeof restoreId !== 'string' || !/^(?:direct-)?restore\/./.test(restoreId) || restoreId.length > idMaximumLength) {
    throw new WalkbackError('INVALID_REQUEST', `"${restoreId}" is not the id of a restore: restore/HOST/DIRECTORY.`);
  }
  if (child !== undefined && child !== 'stop' && child !== 'keep') throw new WalkbackError('INVALID_REQUEST', 'child is stop or keep.');
  if (cluster !== undefined && !isClusterName(cluster)) {
    throw new WalkbackError('INVALID_REQUEST', `"${String(cluster)}" is not the name of a cluster.`);
  }
  return request;
}

/** What was done. */
export interface UndoReport {
  readonly restoreId: string;
  /** The source, which runs again. */
  readonly cluster: string;
  readonly host: string;
  readonly dataDirectory: string;
  /** The restored cluster, and whether it runs on; null where there is none. */
  readonly child: { readonly name: string; readonly host: string; readonly isStopped: boolean } | null;
  readonly steps: readonly StepReport[];
  readonly totalMilliseconds: number;
}
