/** Activities about families of clusters: landing reports, lineage, sources that a restore retires. As in types.ts, each line says why it may be run twice. */
import type { LandingReport } from '../domain/landing-report.ts';
import type { Lineage } from '../domain/lineage.ts';
import type { WalView } from '../domain/recovery-plan.ts';
import type { UndoRequest } from '../domain/undo-request.ts';
import type { Attempted, ClusterPlace } from './types.ts';

/** A landing report to store. */
export interface StoreReportInput {
  /** Of the restored cluster. */
  readonly archiveUrl: string;
  readonly report: LandingReport;
  /** What the restore could see of its parent's WAL. */
  readonly wal?: { readonly view: WalView; readonly segmentBytes: number };
}

/** A retired cluster that is to run again. */
export interface BringBackInput {
  readonly cluster: string;
  readonly archiveUrl: string;
  /** The restore that retired it. */
  readonly restoreId: string;
}

/** What an undo has to do. */
export interface PlannedUndo {
  readonly source: ClusterPlace;
  /** The restored cluster; null where the restore left none that is open. */
  readonly child: { readonly name: string; readonly host: string; readonly archiveUrl: string; readonly port: number } | null;
}

/** The ones that need only archives: task queue `walkback`. */
export interface FamilyActivities {
  /** Writes the same objects again. @returns the report as stored, with the commits next to the landing read from the WAL */
  storeLandingReport(input: StoreReportInput): Promise<Attempted<LandingReport | null>>;
  /** Read-only. @param input.of a restore's id, or the name of a restored cluster */
  readLandingReport(input: { readonly of: string }): Promise<Attempted<LandingReport>>;
  /** Read-only. */
  planUndo(input: UndoRequest): Promise<Attempted<PlannedUndo>>;
  /** Read-only. */
  readLineage(input: { readonly cluster: string }): Promise<Attempted<Lineage>>;
}

/** The ones on the host of a source. */
export interface RetirementActivities {
  /** The first fence of a restore stays as it is. */
  retireSource(input: {
    readonly cluster: string;
    readonly restoreId: string;
    readonly keepUntil: string;
  }): Promise<Attempted<{ readonly dataDirectory: string; readonly keepUntil: string }>>;
  /** Nothing to do where there is no fence. */
  liftSourceFence(input: { readonly cluster: string; readonly restoreId: string }): Promise<Attempted<null>>;
  /** Read-only. */
  checkRetired(input: {
    readonly cluster: string;
    readonly restoreId: string;
    /** The restored cluster listens on its port, and is going to be stopped. */
    readonly isPortTaken: boolean;
  }): Promise<Attempted<null>>;
  /** A fence that is lifted and a server that runs stay so. */
  bringBackSource(input: BringBackInput): Promise<Attempted<{ readonly dataDirectory: string }>>;
}
