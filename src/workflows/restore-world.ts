/** What the story of a restore needs of whoever runs it: Temporal, or an agent that does without. */
import type { ControlActivities, HostActivities } from '../activities/types.ts';
import type { DecisionReport } from '../domain/landing-report.ts';
import type { Summarized } from './activity-options.ts';
import type { BaseBackupReport, BaseBackupRequest } from './contract.ts';
import type { Decision, Question } from './decisions.ts';
import type { StepDisplay } from './step-recorder.ts';

/** Runs activities, and lets people see how far it is. */
export interface RestoreWorld {
  /** The same for every run into one data directory of one host. */
  readonly restoreId: string;
  readonly runId: string;
  readonly control: Summarized<ControlActivities>;
  host(host: string, options?: { readonly hostReturnsWithinMinutes?: number }): Summarized<HostActivities>;
  /** False for a restore that a worker of before has begun, which did not know the step. */
  knows(step: string): boolean;
  isCancellation(error: unknown): boolean;
  /** Runs to its end whether the restore is cancelled or not. */
  uncancelled<T>(work: () => Promise<T>): Promise<T>;
  sleep(milliseconds: number, why: string): Promise<void>;
  /** Takes a base backup of a cluster, under the fixed id of its base backups where there is one. */
  takeBackup(request: BaseBackupRequest, summary: string): Promise<BaseBackupReport>;
  readonly display: StepDisplay;
}

/** Where a restore that waits asks for a decision. */
export interface Desk {
  /** All decisions so far. */
  readonly decisions: readonly DecisionReport[];
  /**
   * Waits for a decision.
   * @param withinMinutes a deadline; undefined waits for ever
   * @throws WalkbackError ABORTED when it was decided to, or the deadline has passed
   */
  ask(question: Question, withinMinutes: number | undefined): Promise<Decision>;
}
