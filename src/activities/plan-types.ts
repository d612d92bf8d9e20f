/** What the activities that only look are asked, and what they answer. JSON-safe. */
import type { PlanCheck } from '../domain/plan-check.ts';
import type { RestoreOutline } from '../domain/plan-report.ts';
import type { RecoveryPlan } from '../domain/recovery-plan.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';

/** What the archive tells of a restore, and what the host is asked with: nothing was done. */
export interface OutlinedRestore {
  /** Of the source. */
  readonly archiveUrl: string;
  /** Null when none could be made; why is among the outline's checks. */
  readonly plan: RecoveryPlan | null;
  readonly outline: RestoreOutline;
}

/** Asks what stands in the way of a restore on the host. */
export interface HostInspectionInput {
  readonly request: CompleteRestoreRequest;
  /** Of the source. */
  readonly archiveUrl: string;
  /** Null when none could be made: then only the place is looked at. */
  readonly plan: RecoveryPlan | null;
}

/** What was found on the host; nothing was changed there. */
export interface HostInspection {
  /** In the order in which a restore would be refused. */
  readonly checks: readonly PlanCheck[];
  /** The programs that fit the backup; null when there are none, or without a plan. */
  readonly installation: { readonly version: string; readonly binDirectory: string } | null;
  /** Null without a plan. */
  readonly disk: { readonly path: string; readonly freeBytes: number; readonly neededBytes: number } | null;
}
