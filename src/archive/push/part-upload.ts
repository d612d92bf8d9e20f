/**
 * Uploads the parts of a base backup: PGDATA's files in bounded tars, several at a time. What is stored stays stored: after a failure the upload goes on
 * with the parts that are not. An object that the store has all bytes of is not read again: only its completion is tried again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PageDamage } from '../../domain/base-backup.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { collectGarbage } from '../collect-garbage.ts';
import type { Codec } from '../compression/codec.ts';
import { manifestEntry } from '../documents/backup-manifest.ts';
import { fileListPiece, type FileListPiece } from '../documents/files-metadata.ts';
import { HeldText } from '../documents/held-text.ts';
import type { StoredObject } from '../documents/manifest.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import { partFileName, tarPartitionsPrefix } from '../layout.ts';
import { forEachParallel } from '../parallel.ts';
import { type ChunkRing, chunkRings } from './chunk-ring.ts';
import type { ManifestChecksum } from './file-digest.ts';
import { sendObject, type SentObject } from './object-upload.ts';
import { DamageCollector } from './page-damage.ts';
import type { PageFormat } from './page-file.ts';
import { type PackedFile, type TarFile, tarOfFiles } from './tar-stream.ts';

/** How far an upload is. */
export interface PushProgress {
  /** Uncompressed content. */
  readonly bytesDone: number;
  /** What the caller expects, or what was walked so far when that is more. */
  readonly bytesTotal: number;
  readonly partsDone: number;
  /** Pages whose checksum was wrong so far. */
  readonly damage: PageDamage | undefined;
}

interface PartUploadOptions {
  readonly backup: string;
  readonly codec: Codec;
  readonly cipher: ObjectCipher | undefined;
  /** Parts at a time. */
  readonly concurrency: number;
  readonly pages: PageFormat | undefined;
  readonly manifestChecksum: ManifestChecksum;
}

/** What a run of the upload is given. */
interface RunOptions {
  readonly signal: AbortSignal;
  readonly onProgress: ((progress: PushProgress) => void) | undefined;
}

/** What was sent. */
export interface SentParts {
  readonly objects: readonly StoredObject[];
  /** Text of the file list, a piece for each part; undefined when there are more files than it may name. */
  readonly fileList: readonly FileListPiece[] | undefined;
  /** Entries of backup_manifest, a piece for each part. */
  readonly manifest: readonly HeldText[];
  readonly contentBytes: number;
  readonly damage: PageDamage | undefined;
}

/** A file list of more names would take gigabytes in WAL-G and in a delta backup. */
const maximumListedFiles = 1_000_000;

/**
 * Garbage is collected each time that so many files were packed. V8 lets 150 MiB of it lie on a host with much memory. An agent stands still for it: most
 * backups have fewer files, and one of a million takes a tenth more time.
 */
const collectedFiles = 16_384;
/** Skipped files whose text is made and packed together. */
const skippedPieceFiles = 2048;

/** A part that has its number. */
interface Part {
  readonly number: number;
  readonly files: readonly TarFile[];
}

/** Parts under way, and what is known of those that are done. */
export class PartsUpload {
  readonly #store: ObjectStore;
  readonly #options: PartUploadOptions;
  readonly #objects: StoredObject[] = [];
  readonly #fileList: FileListPiece[] = [];
  readonly #manifest: HeldText[] = [];
  readonly #damage = new DamageCollector();
  /** Objects that are not completed yet: one for each part under way at most. */
  readonly #incomplete: SentObject[] = [];
  /** Parts that were begun and are not sent. */
  readonly #unfinished = new Map<number, Part>();
  readonly #parts: AsyncIterator<readonly TarFile[]>;
  /** What ended the walk. A generator that has thrown says next that it is done, and files would be missing without a word. */
  #walkFailure: { readonly error: unknown } | undefined;
  readonly #skipped: PackedFile[] = [];
  #startedParts = 0;
  #listedFiles = 0;
  #contentBytes = 0;
  #totalBytes = 0;

  constructor(store: ObjectStore, parts: AsyncIterable<readonly TarFile[]>, options: PartUploadOptions) {
    this.#store = store;
    this.#parts = parts[Symbol.asyncIterator]();
    this.#options = options;
  }

  /** Walks until the first part is known. What keeps the walk from it is thrown by `send`. */
  async findFirst(): Promise<void> {
    if (this.#startedParts === 0) await this.#begin().catch(() => undefined);
  }

  /** Reads all that is not sent, until the store has all of it. Called again after a failure, it goes on. Objects may wait for `complete`. */
  async send({ signal, onProgress }: RunOptions): Promise<SentParts> {
    const { concurrency } = this.#options;
    await forEachParallel(this.#pending(), { concurrency, signal }, async (part, partSignal) => {
      await this.complete(partSignal);
      await this.#sendPart(part, { signal: partSignal, onProgress });
      this.#unfinished.delete(part.number);
      // The last one is left: nothing has to be read for its completion, and a large object takes the store long.
      if (this.#unfinished.size > 0) await this.complete(partSignal);
    });
    return this.#result();
  }

  /** Makes visible what was sent. After a failure it can be called again. */
  async complete(signal: AbortSignal): Promise<void> {
    for (let sent = this.#incomplete.pop(); sent !== undefined; sent = this.#incomplete.pop()) {
      try {
        await sent.upload.complete(signal);
      } catch (error) {
        this.#incomplete.push(sent);
        throw error;
      }
    }
  }

  /** Gives up what was sent and is not complete. An upload that cannot be aborted in time stays behind in the store, as after a crash. */
  async abandon(withinMs: number): Promise<void> {
    const aborted = Promise.allSettled(this.#incomplete.splice(0).map(({ upload }) => upload.abort()));
    await Promise.race([aborted, delay(withinMs, undefined, { ref: false })]);
  }

  /** Counts bytes that are known to belong to the backup. */
  expect(sizeBytes: number): void {
    this.#totalBytes += sizeBytes;
  }

  /** Takes note of a file that is listed and in no tar of this backup. */
  listSkipped(file: PackedFile): void {
    this.#skipped.push(file);
    if (this.#skipped.length >= skippedPieceFiles) this.#listSkipped();
  }

  /** The iterator itself is never closed: a failed run must not end the walk. */
  async *#pending(): AsyncGenerator<Part> {
    yield* this.#unfinished.values();
    for (let part = await this.#begin(); part !== undefined; part = await this.#begin()) yield part;
  }

  /** @returns undefined when the walk has ended */
  async #begin(): Promise<Part | undefined> {
    const next = await this.#next();
    if (next.done === true) return undefined;
    this.#startedParts += 1;
    const part = { number: this.#startedParts, files: next.value };
    this.#unfinished.set(part.number, part);
    return part;
  }

  async #next(): Promise<IteratorResult<readonly TarFile[], unknown>> {
    if (this.#walkFailure !== undefined) throw this.#walkFailure.error;
    try {
      return await this.#parts.next();
    } catch (error) {
      this.#walkFailure = { error };
      throw error;
    }
  }

  async #sendPart(part: Part, run: RunOptions): Promise<void> {
    await chunkRings.lend(async (ring) => this.#sendPartIn(ring, part, run));
  }

  async #sendPartIn(ring: ChunkRing, part: Part, { signal, onProgress }: RunOptions): Promise<void> {
    const { backup, codec, cipher } = this.#options;
    const fileName = partFileName(part.number, codec.extension);
    const packed: PackedFile[] = [];
    let countedBytes = 0;
    const count = (sizeBytes: number): void => {
      countedBytes += sizeBytes;
      this.#contentBytes += sizeBytes;
      this.#report(onProgress);
    };
    const onFile = (file: PackedFile): void => {
      packed.push(file);
      if (file.damagedBlocks !== undefined) this.#damage.add(file.name, file.damagedBlocks);
    };
    try {
      const chunks = tarOfFiles(part.files, { ...this.#options, ring, onFile, onContent: count });
      const key = `${tarPartitionsPrefix(backup)}${fileName}`;
      // What takes longest is begun first and goes ahead: the store puts it together while the others are read.
      const urgency = part.files.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
      const sent = await sendObject(this.#store, key, { codec, cipher, chunks, signal, urgency, frameRooms: ring.frameRooms });
      this.#incomplete.push(sent);
      this.#objects.push(sent.object);
      this.#list(fileName, packed);
      this.#report(onProgress);
    } catch (error) {
      this.#contentBytes -= countedBytes;
      throw error;
    }
  }

  #listSkipped(): void {
    this.#list(undefined, this.#skipped.splice(0));
  }

  #result(): SentParts {
    this.#listSkipped();
    return {
      objects: this.#objects,
      fileList: this.#listedFiles > maximumListedFiles ? undefined : this.#fileList,
      manifest: this.#manifest,
      contentBytes: this.#contentBytes,
      damage: this.#damage.result(),
    };
  }

  #list(tarName: string | undefined, files: readonly PackedFile[]): void {
    const collectedBefore = Math.floor(this.#listedFiles / collectedFiles);
    this.#listedFiles += files.length;
    this.#manifest.push(
      new HeldText(
        files
          .filter(({ type }) => type === 'file')
          .map(entryOf)
          .join(',\n'),
      ),
    );
    if (this.#listedFiles > maximumListedFiles) this.#fileList.length = 0;
    else this.#fileList.push(fileListPiece(tarName, files.map(listed)));
    if (Math.floor(this.#listedFiles / collectedFiles) > collectedBefore) collectGarbage();
  }

  #report(onProgress: RunOptions['onProgress']): void {
    onProgress?.({
      bytesDone: this.#contentBytes,
      bytesTotal: this.#totalBytes,
      partsDone: this.#objects.length,
      damage: this.#damage.result(),
    });
  }
}

function entryOf({ name, fileBytes, changedNs, checksum }: PackedFile): string {
  return manifestEntry({ path: name.slice(1), sizeBytes: fileBytes, changedNs, checksum });
}

function listed(file: PackedFile): Parameters<typeof fileListPiece>[1][number] {
  const { type, fileBytes, checksum } = file;
  return { ...file, restored: type === 'file' ? { sizeBytes: fileBytes, checksum } : undefined };
}
