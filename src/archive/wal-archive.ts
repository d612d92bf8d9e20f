/** WAL segments and history files in the archive: stored under `wal_005/`, one compressed and encrypted object each, verified on the way in and out. */
import { WalkbackError } from '../domain/errors.ts';
import { historyFileName, partialSuffix, type TimelineId, walFileKind } from '../domain/wal-segment.ts';
import type { ObjectBody, ObjectStore } from '../storage/object-store.ts';
import { type BufferPool, BufferPools } from './buffer-pool.ts';
import { ByteSource } from './byte-source.ts';
import { codecs, type Compression, readableExtensions } from './compression.ts';
import type { Chunks } from './compression/codec.ts';
import { damaged, signalOption } from './documents/stored-document.ts';
import { writeFileSynced } from '../files/durable-file.ts';
import type { ObjectCipher } from './encryption/cipher.ts';
import { assertWritable } from './encryption.ts';
import { parseWalKey, walKey, walPrefix } from './layout.ts';
import { contentReader } from './object-content.ts';
import { supersededBy } from './partial-segments.ts';
import { readStoredContent, sha256Of, unreadable } from './stored-content.ts';
import { conflictError } from './wal-conflicts.ts';
import { type PackedFile, WalPacking } from './wal-packing.ts';
import { readWalHeader, type WalHeader, walLongPageHeaderBytes, whyNotSegment } from './wal-page.ts';
import { readWalSource, refusedSource } from './wal-source.ts';
import { WalTimelines } from './wal-timelines.ts';

/** A file that PostgreSQL asks to be archived. */
export interface WalPush {
  /** Where it lies. */
  readonly path: string;
  /** Its name in pg_wal: a segment, `.partial`, `.history` or `.backup`. */
  readonly name: string;
  /** Decimal; a segment of another cluster is refused. Undefined: not checked. */
  readonly systemIdentifier: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A file that PostgreSQL asks for. */
export interface WalFetch {
  readonly name: string;
  /** Path to write; an existing file is replaced. */
  readonly destination: string;
  /** Decimal. Undefined: not checked. */
  readonly systemIdentifier?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How a file's content is read. */
export type WalReadOptions = Pick<WalFetch, 'systemIdentifier' | 'signal'>;

/** What the archive holds, by one listing. Names are PostgreSQL's, without the compression's extension; partials without `.partial`. */
export interface WalInventory {
  readonly segments: ReadonlySet<string>;
  readonly partials: ReadonlySet<string>;
  readonly histories: ReadonlySet<string>;
}

export interface WalArchive {
  /**
   * Stores a file; it is durable when this resolves. The same content again is success. A partial segment whose records go on where those of the
   * stored one end takes its place, and that one is kept aside.
   * @throws WalkbackError WAL_REFUSED when it is not the segment that its name says, WAL_CONFLICT when the archive holds other content under the name,
   * ENCRYPTION_READ_ONLY
   */
  push(file: WalPush): Promise<'stored' | 'already-stored'>;
  /**
   * Brings a file to its destination, verified and synced, by a rename; that the name is durable is the caller's care. @returns 'absent' only when the store proves that no object of that name exists
   * @throws WalkbackError OBJECT_DAMAGED when what is stored is not the file, DECRYPTION_FAILED, ARCHIVE_FORMAT_UNSUPPORTED for a compression that cannot be read
   */
  fetch(file: WalFetch): Promise<'fetched' | 'absent'>;
  /** A file's content, verified as by `fetch`; undefined when it is proven absent. @throws WalkbackError as `fetch` */
  read(name: string, options?: WalReadOptions): Promise<Buffer | undefined>;
  /** Is there an object of that name, in any compression? */
  has(name: string, options?: { readonly signal?: AbortSignal }): Promise<boolean>;
  list(options?: { readonly signal?: AbortSignal }): Promise<WalInventory>;
  /** When the source closed the file, RFC 3339; undefined when it is absent or was not written by us. */
  closedAt(name: string, options?: { readonly signal?: AbortSignal }): Promise<string | undefined>;
  /** Page header of a stored segment, for its size and identity; undefined when it is absent. Reads the first bytes only. @throws WalkbackError OBJECT_DAMAGED */
  readHeader(segment: string, options?: { readonly signal?: AbortSignal }): Promise<WalHeader | undefined>;
  /** Text of a timeline's history file; undefined when it is absent. */
  readHistory(timeline: TimelineId, options?: { readonly signal?: AbortSignal }): Promise<string | undefined>;
}

export interface WalArchiveOptions {
  /** How new objects are written. Objects of every readable compression are found, whatever this says. */
  readonly compression: Compression;
  /** How they are encrypted. Default: not at all. */
  readonly cipher?: ObjectCipher | undefined;
  /** Size of the cluster's segments: a whole one is held in memory. */
  readonly segmentBytes: number;
}

/** Opens an archive's WAL for reading; the size of its segments is known once one of them was looked at. */
export type OpenWal = (segmentBytes?: number) => WalArchive;

/** The WAL of one cluster's archive. */
export function createWalArchive(store: ObjectStore, options: WalArchiveOptions): WalArchive {
  return new StoredWal(store, options);
}

/** Metadata entry of ours: SHA-256 of the stored bytes, of which there are far fewer than of the content. */
const storedSha256MetadataName = 'stored-sha256';
/** For segments that are fetched, by all archives of the process. A restore takes three at most: others go on while its store stalls. */
const fetchPools = new BufferPools({ maximumCount: 8, maximumBytes: 128 * 1024 * 1024 });
/** Metadata entry of ours: when the source last changed the file. */
const closedAtMetadataName = 'closed-at';
/** History files and backup history files are a few lines. */
const maximumTextBytes = 1024 * 1024;
/** Names that one listing may return: over 60 TB of WAL in segments of 16 MiB. */
const maximumListedNames = 4_000_000;

class StoredWal implements WalArchive {
  readonly #store: ObjectStore;
  readonly #options: WalArchiveOptions;
  readonly #buffers: BufferPool;
  readonly #packing: WalPacking;
  readonly #timelines = new WalTimelines((timeline) => this.readHistory(timeline));
  /** The extension that was right last time, so that an archive in another compression costs no extra request a segment. */
  #likelyExtension: string;

  constructor(store: ObjectStore, options: WalArchiveOptions) {
    this.#store = store;
    this.#options = options;
    this.#buffers = fetchPools.of(options.segmentBytes);
    this.#packing = new WalPacking(options);
    this.#likelyExtension = codecs[options.compression].extension;
  }

  async push(file: WalPush): Promise<'stored' | 'already-stored'> {
    assertWritable(this.#options.cipher);
    const maximumBytes = this.#maximumBytes(file.name);
    const options = { maximumBytes, whyWrong: (bytes: Buffer) => this.#whyWrong(bytes, file) };
    const read = (buffer: Buffer) => readWalSource(file, { buffer, ...options });
    return await this.#packing.packed(read, (packed) => this.#put(file, packed));
  }

  async fetch(file: WalFetch): Promise<'fetched' | 'absent'> {
    return await this.#buffers.lend(async (buffer) => {
      const bytes = await this.#read(file.name, file, buffer);
      if (bytes === undefined) return 'absent';
      await writeFileSynced(file.destination, bytes);
      return 'fetched';
    });
  }

  async read(name: string, options: WalReadOptions = {}): Promise<Buffer | undefined> {
    return await this.#read(name, options, Buffer.allocUnsafeSlow(walFileKind(name) === 'segment' ? this.#options.segmentBytes : 0));
  }

  /** @param room takes the content when it is large enough */
  async #read(name: string, options: WalReadOptions, room: Buffer): Promise<Buffer | undefined> {
    this.#maximumBytes(name);
    const object = await this.#open(name, options.signal);
    if (object === undefined) return undefined;
    const { key } = object.info;
    const bytes = await this.#content(object, name, room);
    this.#likelyExtension = parseWalKey(key)?.extension ?? this.#likelyExtension;
    const reason = this.#whyWrong(bytes, { name, systemIdentifier: options.systemIdentifier });
    if (reason !== undefined) throw damaged(key, reason);
    return bytes;
  }

  async has(name: string, options: { readonly signal?: AbortSignal } = {}): Promise<boolean> {
    const likely = await this.#store.head(walKey(name, this.#likelyExtension), options);
    return likely !== undefined || (await this.#find(name, options)) !== undefined;
  }

  async list(options: { readonly signal?: AbortSignal } = {}): Promise<WalInventory> {
    const names = {
      segment: new Set<string>(),
      partial: new Set<string>(),
      history: new Set<string>(),
      'backup-history': new Set<string>(),
    };
    let nameCount = 0;
    for await (const { key } of this.#store.list(walPrefix, { shallow: true, ...options })) {
      const name = parseWalKey(key)?.name;
      const kind = name === undefined ? undefined : walFileKind(name);
      if (name === undefined || kind === undefined) continue;
      nameCount += 1;
      if (nameCount > maximumListedNames) throw tooManyNames(this.#store.url);
      names[kind].add(kind === 'partial' ? name.slice(0, -partialSuffix.length) : name);
    }
    return { segments: names.segment, partials: names.partial, histories: names.history };
  }

  async closedAt(name: string, options: { readonly signal?: AbortSignal } = {}): Promise<string | undefined> {
    const info = await this.#store.head(walKey(name, this.#likelyExtension), options);
    return info?.metadata?.[closedAtMetadataName];
  }

  async readHeader(segment: string, options: { readonly signal?: AbortSignal } = {}): Promise<WalHeader | undefined> {
    const object = await this.#open(segment, options.signal);
    if (object === undefined) return undefined;
    const content = new ByteSource(this.#readerOf(object)(object.body as AsyncIterable<Buffer>));
    try {
      const header = readWalHeader(await content.upTo(walLongPageHeaderBytes));
      if (header !== undefined) return header;
    } catch (error) {
      throw unreadable(object.info.key, error);
    } finally {
      await content.close();
      object.body.destroy();
    }
    throw damaged(object.info.key, 'it does not begin with the page header of a WAL segment of PostgreSQL 14 to 18');
  }

  async readHistory(timeline: TimelineId, options: { readonly signal?: AbortSignal } = {}): Promise<string | undefined> {
    const bytes = await this.read(historyFileName(timeline), options);
    return bytes?.toString('utf8');
  }

  async #put(file: WalPush, packed: PackedFile): Promise<'stored' | 'already-stored'> {
    await this.#refuseForeign(file, packed);
    const { extension } = codecs[this.#options.compression];
    const key = walKey(file.name, extension);
    const { stored, storedSha256, closedAt } = packed;
    const metadata = { [storedSha256MetadataName]: storedSha256, [closedAtMetadataName]: closedAt };
    const options = { metadata, ...signalOption(file.signal) };
    const older = await this.#olderPartial(file, packed);
    if (older === 'same') return 'already-stored';
    if (older !== undefined) {
      await this.#store.put(key, stored, options);
      if (older.key !== key) await this.#store.delete([older.key]);
      return 'stored';
    }
    const put = await this.#store.put(key, stored, { ifAbsent: true, ...options });
    if (walFileKind(file.name) === 'history') this.#timelines.forget(Number.parseInt(file.name.slice(0, 8), 16));
    if (put !== 'exists') return 'stored';
    const info = await this.#store.head(key, signalOption(file.signal));
    if (info?.metadata?.[storedSha256MetadataName] === storedSha256) return 'already-stored';
    const present = await this.#presentContent(key, file);
    const bytes = await this.#packing.unpacked(packed);
    if (present.equals(bytes)) return 'already-stored';
    const { name, path, systemIdentifier, signal } = file;
    const conflict = { name, key, sha256: sha256Of(bytes), storedSha256: sha256Of(present), path, systemIdentifier, closedAt };
    throw await conflictError(this.#store, conflict, { stored, extension, signal });
  }

  /** The stored partial segment that the file goes on from, kept aside; `same` when it says nothing more. */
  async #olderPartial(file: WalPush, packed: PackedFile): Promise<{ readonly key: string } | 'same' | undefined> {
    const { name, signal } = file;
    const key = walFileKind(name) === 'partial' ? await this.#find(name, signalOption(signal)) : undefined;
    if (key === undefined) return undefined;
    const stored = { key, content: await this.#presentContent(key, file), extension: parseWalKey(key)?.extension ?? '' };
    return await supersededBy(this.#store, stored, { name, content: await this.#packing.unpacked(packed), signal });
  }

  /** Not while the file is read: this asks the store, and others wait for that memory. */
  async #refuseForeign(file: WalPush, { firstBytes }: PackedFile): Promise<void> {
    const header = walFileKind(file.name) === 'segment' ? readWalHeader(firstBytes) : undefined;
    if (header === undefined) return;
    const reason = await this.#timelines.whyForeign({ ...file, header, segmentBytes: this.#options.segmentBytes });
    if (reason !== undefined) throw refusedSource(file, reason);
  }

  /** What the archive holds under the name that was to be written. */
  async #presentContent(key: string, file: WalPush): Promise<Buffer> {
    const object = await this.#store.get(key, signalOption(file.signal));
    if (object === undefined) throw vanished(this.#store.url, key);
    return await this.#content(object, file.name, Buffer.alloc(0));
  }

  async #open(name: string, signal: AbortSignal | undefined): Promise<ObjectBody | undefined> {
    const likely = await this.#store.get(walKey(name, this.#likelyExtension), signalOption(signal));
    if (likely !== undefined) return likely;
    const key = await this.#find(name, signalOption(signal));
    if (key === undefined) return undefined;
    const object = await this.#store.get(key, signalOption(signal));
    if (object === undefined) throw vanished(this.#store.url, key);
    return object;
  }

  /** Key of the object under any known extension, a readable one before others. */
  async #find(name: string, options: { readonly signal?: AbortSignal }): Promise<string | undefined> {
    const found = new Map<string, string>();
    for await (const { key } of this.#store.list(`${walPrefix}${name}`, { shallow: true, ...options })) {
      const stored = parseWalKey(key);
      if (stored?.name === name) found.set(stored.extension, key);
    }
    const extension = readableExtensions.find((candidate) => found.has(candidate));
    return extension === undefined ? undefined : found.get(extension);
  }

  async #content(object: ObjectBody, name: string, room: Buffer): Promise<Buffer> {
    const expectedSha256 = object.info.metadata?.[storedSha256MetadataName];
    const read = this.#readerOf(object);
    return await readStoredContent(object, { read, expectedSha256, maximumBytes: this.#maximumBytes(name), room });
  }

  /** An unread body holds a socket, so it is let go when nothing here can decompress it. */
  #readerOf(object: ObjectBody): (stored: Chunks) => AsyncIterable<Buffer> {
    const { key } = object.info;
    try {
      return contentReader({ key, extension: parseWalKey(key)?.extension ?? '', cipher: this.#options.cipher, inThisThread: true });
    } catch (error) {
      object.body.destroy();
      throw error;
    }
  }

  #whyWrong(bytes: Buffer, file: { readonly name: string; readonly systemIdentifier: string | undefined }): string | undefined {
    const kind = walFileKind(file.name);
    if (kind !== 'segment' && kind !== 'partial') return bytes.length === 0 ? 'it is empty' : undefined;
    return whyNotSegment(bytes, { ...file, segmentBytes: this.#options.segmentBytes });
  }

  #maximumBytes(name: string): number {
    const kind = walFileKind(name);
    if (kind === undefined) throw new WalkbackError('INVALID_REQUEST', `"${name}" is not the name of a file that PostgreSQL archives.`);
    return kind === 'segment' || kind === 'partial' ? this.#options.segmentBytes : maximumTextBytes;
  }
}

/** Listed or refused as existing a moment ago, absent now: nothing is proven, so it is asked again. */
function vanished(url: string, key: string): WalkbackError {
  return new WalkbackError('STORAGE_UNREACHABLE', `${url}/${key} exists and cannot be read.`, { facts: { key } });
}

function tooManyNames(url: string): WalkbackError {
  return new WalkbackError('ARCHIVE_FORMAT_UNSUPPORTED', `${url}/${walPrefix} holds more than ${maximumListedNames} files.`, {
    hint: 'Remove WAL that no backup needs.',
  });
}
