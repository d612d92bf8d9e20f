/** WAL that retention lets go: counted, and removed the oldest first, so that an interruption leaves no hole. */
import { keepsWal, type RetentionDecision } from '../../domain/retention-policy.ts';
import type { WalRange } from '../../domain/recovery-plan.ts';
import { isWalSegmentName, parseWalSegmentName, walSegmentName } from '../../domain/wal-segment.ts';
import type { ObjectInfo, ObjectStore } from '../../storage/object-store.ts';
import { walFileOfKey, walPrefix } from '../layout.ts';

/** Keys of one delete request. */
const batchMaximumKeys = 1000;

/** Objects that go, in the order of their names. */
export async function* prunableWal(store: ObjectStore, decision: RetentionDecision, signal: AbortSignal): AsyncGenerator<ObjectInfo> {
  if (decision.walFrom === undefined) return;
  for await (const info of store.list(walPrefix, { shallow: true, signal })) if (!keepsWal(decision, walFileOfKey(info.key))) yield info;
}

/** Counts what goes. */
export class WalTotals {
  readonly #segmentBytes: number;
  readonly #ranges: { timeline: number; first: bigint; last: bigint }[] = [];
  files = 0;
  bytes = 0;

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes;
  }

  add({ key, sizeBytes }: ObjectInfo): void {
    this.files += 1;
    this.bytes += sizeBytes;
    const name = walFileOfKey(key).split('.', 1)[0] ?? '';
    if (!isWalSegmentName(name)) return;
    const { timeline, number } = parseWalSegmentName(name, this.#segmentBytes);
    const current = this.#ranges.at(-1);
    if (current?.timeline === timeline && (current.last === number || current.last + 1n === number)) current.last = number;
    else this.#ranges.push({ timeline, first: number, last: number });
  }

  get ranges(): readonly WalRange[] {
    const name = (timeline: number, number: bigint) => walSegmentName({ timeline, number }, this.#segmentBytes);
    return this.#ranges.map(({ timeline, first, last }) => ({
      timeline,
      first: name(timeline, first),
      last: name(timeline, last),
      count: Number(last - first) + 1,
    }));
  }
}

/** Removes it. @param onRemoved told of each batch that is gone */
export async function removeWal(
  store: ObjectStore,
  decision: RetentionDecision,
  options: { readonly signal: AbortSignal; readonly onRemoved: (batch: readonly ObjectInfo[]) => void },
): Promise<void> {
  let batch: ObjectInfo[] = [];
  const flush = async () => {
    options.signal.throwIfAborted();
    await store.delete(batch.map(({ key }) => key));
    options.onRemoved(batch);
    batch = [];
  };
  for await (const info of prunableWal(store, decision, options.signal)) {
    batch.push(info);
    if (batch.length >= batchMaximumKeys) await flush();
  }
  if (batch.length > 0) await flush();
}
