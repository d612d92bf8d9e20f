/** The log of a start in recovery, read piece by piece, and what it says of a landing. */
import { majorOf } from '../domain/base-backup.ts';
import {
  emptyRecoverySummary,
  type LogRecord,
  recoveryEventOf,
  type RecoverySummary,
  summarizeRecovery,
} from '../domain/recovery-events.ts';
import { launchLogFile, recoveryLogFile } from '../postgres/recovery-settings.ts';
import { readLogRecords } from '../postgres/server-log.ts';
import type { Landing, RestoreJob } from './types.ts';

const logLinesMaximum = 40;
const logLineMaximumLength = 300;

/** Of one start of a directory; a server that was launched anew under the same number writes on in the same files. */
export class RecoveryLog {
  readonly #files: readonly { readonly path: string; fromBytes: number }[];
  #summary: RecoverySummary = emptyRecoverySummary;
  /** Of an earlier launch, which has left recovery. */
  #promotion: RecoverySummary | undefined;
  readonly #lines: string[] = [];

  constructor(job: Pick<RestoreJob, 'dataDirectory' | 'plan'>, startNumber: number) {
    const major = majorOf(job.plan.backup.pgVersion);
    const paths = [launchLogFile(job.dataDirectory, startNumber), recoveryLogFile(job.dataDirectory, { major, startNumber })];
    this.#files = paths.map((path) => ({ path, fromBytes: 0 }));
  }

  /** Of the last launch. */
  get summary(): RecoverySummary {
    return this.#summary;
  }

  async read(): Promise<void> {
    for (const file of this.#files) {
      for (;;) {
        const piece = await readLogRecords(file.path, { fromBytes: file.fromBytes });
        if (piece.nextBytes === file.fromBytes) break;
        file.fromBytes = piece.nextBytes;
        for (const record of piece.records) this.#take(record);
      }
    }
  }

  /** As the last launch tells it. */
  landing(timeline: number): Landing {
    return this.#landing(this.#summary, timeline);
  }

  /** As the launch tells it that left recovery; undefined when none did. */
  landingOfPromotion(timeline: number): Landing | undefined {
    const summary = this.#summary.complete ? this.#summary : this.#promotion;
    return summary === undefined ? undefined : this.#landing(summary, timeline);
  }

  #landing(summary: RecoverySummary, timeline: number): Landing {
    return { summary, timeline, lastSegmentRestored: summary.lastSegmentRestored, logLines: [...this.#lines] };
  }

  #take(record: LogRecord): void {
    const event = recoveryEventOf(record);
    if (event?.kind === 'server-started' && this.#summary.complete) this.#promotion = this.#summary;
    this.#summary = summarizeRecovery([record], this.#summary);
    if (event === undefined || event.kind === 'wal-file-restored' || event.kind === 'server-started') return;
    this.#lines.push(`${record.time ?? ''} ${record.severity}: ${record.message}`.trim().slice(0, logLineMaximumLength));
    if (this.#lines.length > logLinesMaximum) this.#lines.shift();
  }
}

/** As the last start before this one tells it that left recovery; undefined when none did. */
export async function landingOfEarlierStart(
  job: Pick<RestoreJob, 'dataDirectory' | 'plan'>,
  { startNumber, timeline }: { readonly startNumber: number; readonly timeline: number },
): Promise<Landing | undefined> {
  for (let earlier = startNumber - 1; earlier >= 1; earlier -= 1) {
    const log = new RecoveryLog(job, earlier);
    await log.read();
    const landing = log.landingOfPromotion(timeline);
    if (landing !== undefined) return landing;
  }
  return undefined;
}
