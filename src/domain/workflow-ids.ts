/** Workflow ids. An id is a mutex: Temporal runs one execution of it at a time (design.md, section 5). */

const idMaximumBytes = 200;
const directPrefix = 'direct-';

/** One restore a data directory of a host. */
export function restoreWorkflowId(host: string, dataDirectory: string): string {
  return shorten(
    `restore/${host}/${dataDirectory
      .split('/')
      .filter((part) => part !== '' && part !== '.')
      .join('/')}`,
  );
}

/** A restore that no workflow runs: nobody else takes what it has marked for its own. */
export function directRestoreId(host: string, dataDirectory: string): string {
  return `${directPrefix}${restoreWorkflowId(host, dataDirectory)}`;
}

/** Is it the id of such a restore? */
export function isDirectRestoreId(id: string): boolean {
  return id.startsWith(directPrefix);
}

/** One base backup a cluster, by whomever it is asked for. */
export function backupWorkflowId(cluster: string): string {
  return `backup/${cluster}`;
}

/** One making of a restore point of a name at a time. */
export function restorePointWorkflowId(cluster: string, name: string): string {
  return shorten(`restore-point/${cluster}/${encodeURIComponent(name)}`);
}

/** One undo of a restore at a time. */
export function undoWorkflowId(restoreId: string): string {
  return shorten(`undo/${restoreId}`);
}

/** One counting of a cluster's rows at a time. */
export function baselineWorkflowId(cluster: string): string {
  return `baseline/${cluster}`;
}

/** One change of a cluster's archiving at a time. */
export function enableWorkflowId(cluster: string): string {
  return `enable/${cluster}`;
}

/** One verification of a cluster's archive at a time. */
export function verifyWorkflowId(cluster: string): string {
  return `verify/${cluster}`;
}

/** One retention run of a cluster's archive at a time. */
export function pruneWorkflowId(cluster: string): string {
  return `prune/${cluster}`;
}

/** What schedules start. */
export const scheduledOperations = ['backup', 'verify', 'prune'] as const;
export type ScheduledOperation = (typeof scheduledOperations)[number];

/** A schedule of a cluster. */
export function scheduleIdOf(operation: ScheduledOperation, cluster: string): string {
  return `${operation}-schedule/${cluster}`;
}

/** The id of the runs that a schedule starts; the server appends the time. */
export function scheduledWorkflowId(operation: ScheduledOperation, cluster: string): string {
  return `scheduled-${operation}/${cluster}`;
}

/** Ids may have 255 bytes where Temporal runs on SQL; a long path keeps its end and a fingerprint of the whole. */
function shorten(id: string): string {
  const bytes = new TextEncoder().encode(id);
  if (bytes.length <= idMaximumBytes) return id;
  let hash = 0xcbf2_9ce4_8422_2325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100_0000_01b3n);
  // A character that is cut in two decodes to U+FFFD, three bytes for at most three at each cut: the id stays within 255.
  const decode = (part: Uint8Array) => new TextDecoder().decode(part);
  return `${decode(bytes.subarray(0, 60))}…${hash.toString(16).padStart(16, '0')}…${decode(bytes.subarray(-60))}`;
}
