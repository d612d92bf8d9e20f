/**
 * Retention at work. The order makes an interruption harmless at any point: marks, so that no restore chooses what goes; sentinels, deltas before
 * what they are made from; parts; WAL, the oldest first. Run again, it finishes what was begun.
 */
import type { BaseBackup } from '../domain/base-backup.ts';
import type { Instant } from '../domain/instant.ts';
import type { PruneReport } from '../domain/prune-report.ts';
import {
  ancestorsOf,
  assertRetention,
  assertRules,
  decideRetention,
  type RetentionDecision,
  type RetentionRules,
} from '../domain/retention-policy.ts';
import { WalkbackError } from '../domain/errors.ts';
import { sweepOrphans } from './base-backup-completion.ts';
import { pruneReportKey, pruneReportsPrefix, sentinelKey } from './layout.ts';
import { forEachParallel } from './parallel.ts';
import { clearRemovalMarks, markForRemoval, releaseClaim } from './restore-claims.ts';
import { decideLeftovers, type Leftovers } from './retention/leftovers.ts';
import { readRetentionState, type RetentionSource, type RetentionState } from './retention/retention-state.ts';
import { prunableWal, removeWal, WalTotals } from './retention/wal-removal.ts';
import { storeReport } from './stored-reports.ts';

/** What is asked. */
export interface PruneArchiveOptions extends RetentionSource {
  readonly cluster: string;
  readonly rules: RetentionRules;
  /** Days are counted from here; the same in every attempt. */
  readonly now: Instant;
  /** Without it nothing is written or removed. */
  readonly confirm: boolean;
  readonly allowEmpty: boolean;
  readonly ignoreDamaged: boolean;
  /** Does a base backup of the cluster run? Its folder has no sentinel yet. */
  readonly isBackupRunning: () => Promise<boolean>;
  readonly onProgress: (progress: { readonly partsDone: number; readonly note: string }) => void;
}

interface Plan {
  readonly state: RetentionState;
  readonly decision: RetentionDecision;
}

const markConcurrency = 8;
/** A plan changes while backups are marked only when somebody claims one, or makes it permanent, in the same moment. */
const plansMaximum = 5;

/**
 * Plans, and with `confirm` removes.
 * @throws WalkbackError INVALID_REQUEST, PRUNE_REFUSED, and what the store throws
 */
export async function pruneArchive(options: PruneArchiveOptions): Promise<PruneReport> {
  assertRules(options.rules);
  return options.confirm ? await new Pruning(options).run() : await dryRun(options);
}

async function dryRun(options: PruneArchiveOptions): Promise<PruneReport> {
  const plan = await makePlan(options);
  const wal = new WalTotals(plan.state.segmentBytes);
  for await (const info of prunableWal(options.store, plan.decision, options.signal)) wal.add(info);
  return reportOf(options, plan, { leftovers: await decideLeftovers(plan.state, options.isBackupRunning), wal });
}

async function makePlan(options: PruneArchiveOptions): Promise<Plan> {
  const state = await readRetentionState(options);
  const claimed = new Set(state.claims.map(({ backup }) => backup));
  const facts = { ...state, rules: options.rules, now: options.now, claimed };
  const decision = decideRetention(facts);
  assertRetention(facts, decision, { damaged: state.damaged, allowEmpty: options.allowEmpty, ignoreDamaged: options.ignoreDamaged });
  return { state, decision };
}

/** One attempt at removing. */
class Pruning {
  readonly #options: PruneArchiveOptions;
  /** Marked, with a sentinel: they are backups still. */
  readonly #marked = new Set<string>();
  #removedObjects = 0;

  constructor(options: PruneArchiveOptions) {
    this.#options = options;
  }

  async run(): Promise<PruneReport> {
    const { store, signal } = this.#options;
    let plan: Plan;
    try {
      plan = await this.#settledPlan();
      await this.#removeSentinels(plan.decision.remove, plan.state);
    } finally {
      await this.#unmark();
    }
    const leftovers = await decideLeftovers(plan.state, this.#options.isBackupRunning);
    for (const { name } of plan.decision.remove) await this.#sweep(name);
    for (const backup of [...leftovers.sweep.map((folder) => folder.backup), ...leftovers.forgotten]) await this.#sweep(backup);
    const wal = new WalTotals(plan.state.segmentBytes);
    const onRemoved = (batch: readonly Parameters<WalTotals['add']>[0][]) => {
      for (const info of batch) wal.add(info);
      this.#tell(batch.length, batch.at(-1)?.key ?? '');
    };
    await removeWal(store, plan.decision, { signal, onRemoved });
    for (const { restoreId } of plan.state.staleClaims) await releaseClaim(store, restoreId);
    return await this.#stored(reportOf(this.#options, plan, { leftovers, wal }));
  }

  /** Marks what goes, and plans anew until nothing has changed: what was claimed before it was marked is seen by then. */
  async #settledPlan(): Promise<Plan> {
    const { store, signal } = this.#options;
    for (let plans = 1; ; plans += 1) {
      const plan = await makePlan(this.#options);
      const going = new Set(plan.decision.remove.map(({ name }) => name));
      const existing = plan.state.backups.map(({ name }) => name);
      const spared = existing.filter((name) => plan.state.marked.has(name) && !going.has(name));
      await clearRemovalMarks(store, spared);
      for (const name of spared) this.#marked.delete(name);
      const unmarked = [...going].filter((name) => !plan.state.marked.has(name));
      for (const name of going) this.#marked.add(name);
      if (unmarked.length === 0) return plan;
      if (plans >= plansMaximum) throw unsteady(this.#options.cluster);
      await forEachParallel(unmarked, { concurrency: markConcurrency, signal }, (name, each) => markForRemoval(store, name, each));
    }
  }

  /** Deltas before what they are made from: at no moment does a delta exist without its ancestors. */
  async #removeSentinels(remove: readonly BaseBackup[], { backups }: RetentionState): Promise<void> {
    const byName = new Map(backups.map((backup) => [backup.name, backup]));
    const depthOf = (backup: BaseBackup) => ancestorsOf(backup, byName).length;
    for (const depth of [...new Set(remove.map(depthOf))].toSorted((a, b) => b - a)) {
      this.#options.signal.throwIfAborted();
      const names = remove.filter((backup) => depthOf(backup) === depth).map(({ name }) => name);
      // From here on nobody knows whether the sentinel is there, so the mark stays until its parts are gone.
      for (const name of names) this.#marked.delete(name);
      await this.#options.store.delete(names.map(sentinelKey));
      this.#tell(names.length, names[0] ?? '');
    }
  }

  async #unmark(): Promise<void> {
    try {
      await clearRemovalMarks(this.#options.store, [...this.#marked]);
    } catch {
      // A mark that stays keeps restores away from the backup until the next attempt, or the next run, decides anew; nothing is lost.
    }
  }

  async #sweep(backup: string): Promise<void> {
    const { store, signal } = this.#options;
    signal.throwIfAborted();
    try {
      this.#tell(await sweepOrphans(store, backup, { signal }), backup);
    } catch (error) {
      // It has got its sentinel in the meantime, so it is a backup and stays.
      if (error instanceof WalkbackError && error.code === 'BACKUP_FAILED') return;
      throw error;
    }
    await clearRemovalMarks(store, [backup]);
  }

  #tell(objects: number, note: string): void {
    this.#removedObjects += objects;
    this.#options.onProgress({ partsDone: this.#removedObjects, note });
  }

  async #stored(report: PruneReport): Promise<PruneReport> {
    const { store, now, signal } = this.#options;
    const stored = { ...report, reportKey: pruneReportKey(now) };
    await storeReport(store, { prefix: pruneReportsPrefix, key: stored.reportKey, document: stored, signal });
    return stored;
  }
}

function unsteady(cluster: string): WalkbackError {
  return new WalkbackError(
    'PRUNE_REFUSED',
    `What may be removed from the archive of ${cluster} changes all the time; nothing was removed.`,
    {
      hint: 'Run it again when no restore is being started.',
    },
  );
}

function reportOf(
  options: PruneArchiveOptions,
  { state, decision }: Plan,
  rest: { readonly leftovers: Leftovers; readonly wal: WalTotals },
): PruneReport {
  const { leftovers, wal } = rest;
  const sizeOf = (name: string) => state.folders.get(name) ?? { objects: 0, bytes: 0 };
  const remove = decision.remove
    .map(({ name, finishTime, deltaFrom }) => {
      const { objects, bytes } = sizeOf(name);
      return { backup: name, finishTime, isDelta: deltaFrom !== undefined, objects, bytes };
    })
    .toSorted((a, b) => (a.finishTime < b.finishTime ? -1 : 1));
  const swept = leftovers.sweep.map(({ backup, objects, bytes }) => ({ backup, objects, bytes }));
  const all = [...remove, ...swept];
  return {
    cluster: options.cluster,
    rules: options.rules,
    confirmed: options.confirm,
    at: options.now,
    keep: decision.keep.map(({ backup, reason }) => ({ backup: backup.name, reason })),
    remove,
    leftovers: swept,
    leftoversKept: leftovers.keep,
    wal: { files: wal.files, bytes: wal.bytes, ranges: wal.ranges },
    walFrom: decision.walFrom ?? null,
    claims: state.claims.map(({ restoreId, backup }) => ({ restore: restoreId, backup })),
    damaged: state.damaged,
    objects: all.reduce((total, { objects }) => total + objects, wal.files),
    bytes: all.reduce((total, { bytes }) => total + bytes, wal.bytes),
    leftOut: 0,
    reportKey: null,
  };
}
