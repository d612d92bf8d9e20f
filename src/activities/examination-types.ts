/** Activities that look into data. As in types.ts, each line says why it may be run twice. */
import type { CheckReport } from '../domain/landing-report.ts';
import type { RestoredFindings } from '../domain/restored-findings.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import type { Attempted, RestoreJob } from './types.ts';

/** A baseline of row counts that was taken. */
export interface RecordedBaseline {
  /** Of the object in the archive. */
  readonly key: string;
  /** RFC 3339, by the cluster's clock. */
  readonly takenAt: string;
  readonly database: string;
  readonly tables: number;
  readonly rows: number;
  /** Tables that were not counted, because there are too many. */
  readonly leftOut: number;
}

/** The ones on a database host. */
export interface ExaminationActivities {
  /** Switches subscriptions off, which stay so, and else only looks. */
  takeInventory(input: { readonly job: RestoreJob; readonly request: CompleteRestoreRequest }): Promise<Attempted<RestoredFindings>>;
  /** Read-only transactions; amcheck's extension is rolled back. */
  runChecks(input: { readonly job: RestoreJob; readonly request: CompleteRestoreRequest }): Promise<Attempted<readonly CheckReport[]>>;
  /** Another attempt remembers another count, a moment later. */
  recordBaseline(input: { readonly cluster: string; readonly archiveUrl: string }): Promise<Attempted<RecordedBaseline>>;
}
