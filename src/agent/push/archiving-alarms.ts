/** When the archiving of a cluster needs a person: by what waits, for how long, how much room pg_wal has left, and what the archive refuses. */
import type { AgentLog } from '../agent-log.ts';
import type { Refusal } from './refusals.ts';

/** Beyond these a person is told. Nothing else follows: no WAL is ever dropped, and no setting says so. */
export interface ArchivingThresholds {
  /** @default 64, 1 GiB of the usual size */
  readonly backlogCount: number;
  /** @default 10 minutes */
  readonly oldestAgeMs: number;
  /** @default 2 GiB */
  readonly freeBytes: number;
}

export const archivingThresholdDefaults: ArchivingThresholds = { backlogCount: 64, oldestAgeMs: 10 * 60_000, freeBytes: 2 * 1024 ** 3 };

/** Where archiving stands. */
export interface ArchivingState {
  readonly backlogCount: number;
  readonly oldestBacklogAgeMs: number | null;
  /** Room that the file system of pg_wal has left; null when it does not tell. */
  readonly pgWalFreeBytes: number | null;
  /** Files that no further try brings into the archive. */
  readonly refusals: readonly Refusal[];
}

/** A sentence for each threshold that is passed, and for what is refused. The words before the colon stay the same while the numbers change. */
export function archivingAlarms(state: ArchivingState, thresholds: ArchivingThresholds): readonly string[] {
  const { backlogCount, oldestBacklogAgeMs, pgWalFreeBytes, refusals } = state;
  const alarms: string[] = [];
  if (refusals.length > 0) {
    const named = refusals.map(({ name, code }) => `${name} (${code})`).join(', ');
    alarms.push(`the archive refuses WAL, and PostgreSQL keeps that and all behind it: ${named}`);
  }
  if (backlogCount >= thresholds.backlogCount) alarms.push(`many WAL files wait to be archived: ${backlogCount}`);
  if (oldestBacklogAgeMs !== null && oldestBacklogAgeMs >= thresholds.oldestAgeMs) {
    alarms.push(`a WAL file waits for long to be archived: ${Math.round(oldestBacklogAgeMs / 1000)} s`);
  }
  if (pgWalFreeBytes !== null && pgWalFreeBytes < thresholds.freeBytes) {
    alarms.push(`the disk of pg_wal is nearly full, and PostgreSQL stops when it is: ${Math.floor(pgWalFreeBytes / 1024 ** 2)} MiB left`);
  }
  return alarms;
}

/** Writes each alarm to the log when it begins and when it is over. */
export class AlarmLog {
  readonly #log: AgentLog;
  readonly #cluster: string;
  #present = new Set<string>();

  constructor(log: AgentLog, cluster: string) {
    this.#log = log;
    this.#cluster = cluster;
  }

  note(alarms: readonly string[]): void {
    const present = new Map(alarms.map((alarm) => [alarm.split(':', 1)[0] ?? alarm, alarm]));
    for (const [kind, alarm] of present) if (!this.#present.has(kind)) this.#log.error({ cluster: this.#cluster }, `Alarm: ${alarm}.`);
    for (const kind of this.#present) if (!present.has(kind)) this.#log.info({ cluster: this.#cluster }, `It is over that ${kind}.`);
    this.#present = new Set(present.keys());
  }
}
