/** CPU seconds and peak memory of the programs that a figure is about; the S3 server and PostgreSQL are not among them. */
import { mentions, type ProcessEntry, readProcessTable, withDescendants } from './process-table.ts';

/** What a contestant used. */
export interface Usage {
  readonly cpuSeconds: number;
  /** Resident memory of all its processes together, as sampled: shared pages count once for each. */
  readonly peakBytes: number;
}

/** Which processes count. Asked at every sample, since some begin later. */
export interface UsageScope {
  /** Resident programs: they count with all that they start. */
  readonly residents?: () => readonly number[];
  /** Processes that start the contestant's programs and wait for them: only what they waited for counts. */
  readonly starters?: () => readonly number[];
  /** Programs whose memory counts, with all that they start, beside the residents. */
  readonly memoryOf?: () => readonly number[];
  /** Programs that detach themselves from whoever started them, by name, and a text that their command line or environment holds. */
  readonly detached?: { readonly names: ReadonlySet<string>; readonly mark: string } | undefined;
}

/** A shorter one would take CPU from what is measured: one sample takes a few milliseconds. */
const sampleIntervalMs = 100;

/** Watches from now on, until it is stopped. */
export class UsageWatch {
  readonly #scope: UsageScope;
  readonly #timer: NodeJS.Timeout;
  readonly #firstSeconds = new Map<string, number>();
  readonly #lastSeconds = new Map<string, number>();
  readonly #strangers: ReadonlySet<number>;
  #peakBytes = 0;
  #isFirst = true;

  constructor(scope: UsageScope) {
    this.#scope = scope;
    this.#strangers = new Set(readProcessTable().keys());
    this.#sample();
    this.#isFirst = false;
    this.#timer = setInterval(() => this.#sample(), sampleIntervalMs);
  }

  stop(): Usage {
    clearInterval(this.#timer);
    this.#sample();
    let cpuSeconds = 0;
    for (const [id, seconds] of this.#lastSeconds) cpuSeconds += seconds - (this.#firstSeconds.get(id) ?? 0);
    return { cpuSeconds, peakBytes: this.#peakBytes };
  }

  #sample(): void {
    const table = readProcessTable();
    const residents = this.#scope.residents?.() ?? [];
    const detached = this.#detachedIn(table);
    for (const pid of [...residents, ...detached]) this.#note(`whole ${pid}`, table.get(pid), true);
    for (const pid of this.#scope.starters?.() ?? []) this.#note(`children ${pid}`, table.get(pid), false);
    const counted = withDescendants(table, [...residents, ...detached, ...(this.#scope.memoryOf?.() ?? [])]);
    let residentBytes = 0;
    for (const pid of counted) residentBytes += table.get(pid)?.residentBytes ?? 0;
    this.#peakBytes = Math.max(this.#peakBytes, residentBytes);
  }

  #note(id: string, entry: ProcessEntry | undefined, isWhole: boolean): void {
    if (entry === undefined) return;
    const seconds = entry.childrenCpuSeconds + (isWhole ? entry.cpuSeconds : 0);
    if (this.#isFirst) this.#firstSeconds.set(id, seconds);
    this.#lastSeconds.set(id, seconds);
  }

  #detachedIn(table: ReadonlyMap<number, ProcessEntry>): number[] {
    const { detached } = this.#scope;
    if (detached === undefined) return [];
    return [...table.values()]
      .filter(({ pid, parentPid, name }) => detached.names.has(name) && !this.#strangers.has(pid) && !this.#isStarted(table, parentPid))
      .map(({ pid }) => pid)
      .filter((pid) => mentions(pid, detached.mark));
  }

  /** Is the process below one that waits for it, or below another of the same kind? Then its time is counted there. */
  #isStarted(table: ReadonlyMap<number, ProcessEntry>, parentPid: number): boolean {
    const starters = new Set(this.#scope.starters?.() ?? []);
    const names = this.#scope.detached?.names;
    for (let pid = parentPid; pid > 1; pid = table.get(pid)?.parentPid ?? 0) {
      if (starters.has(pid) || names?.has(table.get(pid)?.name ?? '') === true) return true;
    }
    return false;
  }
}
