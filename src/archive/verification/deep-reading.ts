/** The reading of a deep verification: a bounded number of objects at a time, with a checkpoint now and then. */
import type { Finding } from '../../domain/archive-findings.ts';
import { mapParallel } from '../parallel.ts';
import type { ArchiveState, VerifyArchiveOptions } from './archive-state.ts';
import { readExpected } from './backup-objects.ts';
import { type Checkpoint, type readCheckpoint, writeCheckpoint } from './checkpoint.ts';
import { readStoredObject, type ReadItem } from './object-reading.ts';
import { listReadItems, type ReadScope } from './read-items.ts';

/** Objects read at a time: each holds a few pieces, or one segment. */
const readConcurrency = 4;
/** What lies between two looks at the clock: all of it is read before the next begins. */
const batchMaximumItems = 64;
const batchMaximumBytes = 512 * 1024 * 1024;
const checkpointIntervalMs = 30_000;

/** What is read with. */
export interface DeepReadingOptions extends VerifyArchiveOptions, ArchiveState {
  readonly checkpoint: Awaited<ReturnType<typeof readCheckpoint>>;
}

/** What was read, by this attempt and the ones before. */
export async function readEverything(options: DeepReadingOptions): Promise<Omit<Checkpoint, 'state' | 'through'>> {
  const { store, backupsByName, integrity, checkpoint, signal } = options;
  const scope: ReadScope = {
    store,
    backups: backupsByName,
    expectedOf: (backup) => readExpected(store, backup, signal),
    integrity,
    after: checkpoint?.state === 'running' ? checkpoint.through : '',
    signal,
  };
  const reading = new DeepReading(options);
  await reading.count(scope);
  for await (const batch of batchesOf(listReadItems(scope))) await reading.read(batch);
  return reading.result;
}

class DeepReading {
  readonly #options: DeepReadingOptions;
  readonly #archive: ReturnType<VerifyArchiveOptions['openWal']>;
  readonly #systemIdentifier: string | undefined;
  readonly #findings: Finding[];
  #objectsRead: number;
  #bytesRead: number;
  #bytesTotal: number;
  #checkpointAtMs = performance.now();

  constructor(options: DeepReadingOptions) {
    const before = options.checkpoint?.state === 'running' ? options.checkpoint : undefined;
    this.#options = options;
    this.#archive = options.openWal(options.segmentBytes);
    this.#systemIdentifier = onlySystemIdentifier(options);
    this.#findings = [...(before?.findings ?? [])];
    this.#objectsRead = before?.objectsRead ?? 0;
    this.#bytesRead = before?.bytesRead ?? 0;
    this.#bytesTotal = this.#bytesRead;
  }

  get result(): Omit<Checkpoint, 'state' | 'through'> {
    return { objectsRead: this.#objectsRead, bytesRead: this.#bytesRead, findings: this.#findings };
  }

  /** A listing more, so that progress has an end. */
  async count(scope: ReadScope): Promise<void> {
    for await (const { sizeBytes } of listReadItems(scope)) this.#bytesTotal += sizeBytes;
  }

  async read(batch: readonly ReadItem[]): Promise<void> {
    const { store, cipher, signal } = this.#options;
    const found = await mapParallel(batch, { concurrency: readConcurrency, signal }, async (item, itemSignal) => {
      this.#objectsRead += 1;
      return await readStoredObject(item, {
        store,
        cipher,
        archive: this.#archive,
        systemIdentifier: this.#systemIdentifier,
        onBytes: (sizeBytes) => this.#tell(sizeBytes, item.key),
        signal: itemSignal,
      });
    });
    this.#findings.push(...found.filter((finding) => finding !== undefined));
    const lastKey = batch.at(-1)?.key;
    if (lastKey !== undefined && performance.now() - this.#checkpointAtMs >= checkpointIntervalMs) await this.#save(lastKey);
  }

  async #save(through: string): Promise<void> {
    const { store, id, signal } = this.#options;
    await writeCheckpoint(store, id, { checkpoint: { state: 'running', through, ...this.result }, signal });
    this.#checkpointAtMs = performance.now();
  }

  #tell(sizeBytes: number, key: string): void {
    this.#bytesRead += sizeBytes;
    this.#options.onProgress({ bytesDone: this.#bytesRead, bytesTotal: this.#bytesTotal, note: key });
  }
}

/** An archive that went through pg_upgrade holds WAL of two clusters: then the header's system identifier proves nothing. */
function onlySystemIdentifier({ listing }: ArchiveState): string | undefined {
  const [first, ...more] = new Set(listing.backups.map(({ systemIdentifier }) => systemIdentifier));
  return more.length === 0 ? first : undefined;
}

async function* batchesOf(items: AsyncIterable<ReadItem>): AsyncGenerator<readonly ReadItem[]> {
  let batch: ReadItem[] = [];
  let batchBytes = 0;
  for await (const item of items) {
    batch.push(item);
    batchBytes += item.sizeBytes;
    if (batch.length < batchMaximumItems && batchBytes < batchMaximumBytes) continue;
    yield batch;
    batch = [];
    batchBytes = 0;
  }
  if (batch.length > 0) yield batch;
}
