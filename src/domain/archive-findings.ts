/** What a verification of an archive found; JSON-safe. */
import type { WalRange } from './recovery-plan.ts';
import type { TimelineId } from './wal-segment.ts';

/** What is wrong, or worth to know. */
export type FindingKind =
  /** Note: retention has removed what lay behind a permanent backup. */
  | 'wal-removed'
  /** Missing segments that a base backup's way leads over. */
  | 'wal-hole'
  | 'history-missing'
  /** A base backup that cannot become consistent, because WAL up to its finish is missing. */
  | 'backup-unusable'
  /** A sentinel or metadata.json that cannot be read. */
  | 'backup-damaged'
  /** A delta whose ancestors are not all there. */
  | 'chain-broken'
  | 'object-missing'
  | 'object-damaged'
  /** A tar that does not belong to the backup in whose folder it lies: it would be restored with it. */
  | 'object-unexpected'
  /** Objects without a sentinel: a backup that runs, or was interrupted. */
  | 'backup-incomplete'
  /** Pages that had a wrong checksum when the backup was taken: the source's damage, and in every restore from it. */
  | 'pages-damaged'
  /** Written by another tool, without a record of what each object must be. */
  | 'backup-unrecorded';

/** One finding. */
export interface Finding {
  readonly kind: FindingKind;
  /** An `error` is something that a restore would miss; a `note` is not. */
  readonly severity: 'error' | 'note';
  /** One sentence: what, and what was expected. */
  readonly text: string;
  readonly key?: string;
  readonly backup?: string;
  readonly range?: WalRange;
}

/** One timeline of the archive, in numbers. */
export interface TimelineSummary {
  readonly timeline: TimelineId;
  readonly segmentsHeld: number;
  /** How many base backups need, held or not. */
  readonly segmentsNeeded: number;
  readonly segmentsMissing: number;
}

/** The answer to a verification. */
export interface VerificationReport {
  readonly cluster: string;
  /** Were the objects read and hashed? */
  readonly deep: boolean;
  /** Is there no error? */
  readonly isSound: boolean;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly backups: number;
  readonly timelines: readonly TimelineSummary[];
  /** Objects that were read and hashed, and their stored bytes; 0 without `deep`. */
  readonly objectsRead: number;
  readonly bytesRead: number;
  readonly errors: number;
  readonly notes: number;
  /** Errors first. The answer of a workflow holds the first of them; the stored report holds all. */
  readonly findings: readonly Finding[];
  /** Findings that are in the stored report only. */
  readonly findingsLeftOut: number;
  /** Where in the archive the whole report is. */
  readonly reportKey: string;
}

/** What an answer of Temporal holds (64 KiB, design.md section 2). */
const answeredFindingsMaximum = 60;
const answeredTimelinesMaximum = 100;
const answeredTextMaximum = 400;

/** The report in the size of an answer. */
export function boundedReport(report: VerificationReport): VerificationReport {
  const findings = report.findings
    .slice(0, answeredFindingsMaximum)
    .map((finding) => ({ ...finding, text: finding.text.slice(0, answeredTextMaximum) }));
  return {
    ...report,
    timelines: report.timelines.slice(-answeredTimelinesMaximum),
    findings,
    findingsLeftOut: report.findings.length - findings.length,
  };
}

/** Errors before notes; otherwise in the order in which they were found. */
export function bySeverity(findings: readonly Finding[]): readonly Finding[] {
  return [...findings.filter(({ severity }) => severity === 'error'), ...findings.filter(({ severity }) => severity === 'note')];
}
