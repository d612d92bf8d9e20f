/** Who was restored from whom: a family of clusters, as their archives tell it. */
import { formatInstant, type Instant, parseInstant } from './instant.ts';
import { describeTarget, type RecoveryTarget } from './recovery-target.ts';
import type { TimelineId } from './wal-segment.ts';

/** Where a restored cluster left the way of its parent. */
export interface Fork {
  /** Name of the cluster that it was restored from. */
  readonly parent: string;
  readonly restoreId: string;
  readonly host: string;
  /** RFC 3339, when the restore came to its end. */
  readonly restoredAt: string;
  readonly requestedTarget: RecoveryTarget;
  /** Timeline of the parent that was left; undefined in records that do not say it. */
  readonly parentTimeline: TimelineId | undefined;
  /** Where replay ended, as in the landing report; null where PostgreSQL's log did not tell. */
  readonly lsn: string | null;
  /** Time of the last commit kept, by the parent's clock; null when there is none after the base backup. */
  readonly lastCommit: string | null;
  /** The new timeline, on which the restored cluster goes on. */
  readonly timeline: TimelineId;
}

/** A restored cluster, as its parent's archive remembers it. */
export interface ChildRecord extends Fork {
  readonly name: string;
  /** URL of its own archive. */
  readonly archive: string;
}

/** A cluster with what was restored from it. */
export interface FamilyMember {
  readonly name: string;
  readonly archive: string;
  /** Null: it was not restored by walkback. */
  readonly fork: Fork | null;
  /** The oldest first. */
  readonly children: readonly FamilyMember[];
}

/** The family of one cluster, from its oldest known ancestor on. */
export interface Lineage {
  readonly cluster: string;
  readonly root: FamilyMember;
  /** Clusters that are not shown, because there are too many. */
  readonly leftOut: number;
}

/** The tree for a terminal: one line a cluster, the asked one marked. */
export function renderLineage({ cluster, root, leftOut }: Lineage): string {
  const lines = [lineOf(root, cluster), ...branchLines(root.children, cluster, '')];
  return [...lines, ...(leftOut === 0 ? [] : [`and ${leftOut} more`])].join('\n');
}

function branchLines(children: readonly FamilyMember[], asked: string, indent: string): string[] {
  return children.flatMap((child, index) => {
    const isLast = index === children.length - 1;
    const line = `${indent}${isLast ? '└─ ' : '├─ '}${lineOf(child, asked)}`;
    return [line, ...branchLines(child.children, asked, `${indent}${isLast ? '   ' : '│  '}`)];
  });
}

function lineOf({ name, fork }: FamilyMember, asked: string): string {
  const mark = name === asked ? ' *' : '';
  return fork === null ? `${name}${mark}` : `${name}${mark}  ${describeFork(fork)}`;
}

/** Where a cluster left its parent, in a sentence's part. */
export function describeFork({ parentTimeline, lsn, lastCommit, timeline, requestedTarget, restoredAt }: Fork): string {
  const from = parentTimeline === undefined ? '' : `timeline ${parentTimeline} `;
  const at = lsn === null ? '' : ` at ${lsn}`;
  const kept = lastCommit === null ? '' : `, last commit ${instantText(lastCommit)}`;
  return `left ${from}for ${timeline}${at}${kept} (asked for ${describeTarget(requestedTarget)}, restored ${instantText(restoredAt)})`;
}

function instantText(time: string): string {
  return formatInstant(parseInstant(time) satisfies Instant);
}
