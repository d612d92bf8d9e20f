/** Writes a base backup as WAL-G lays it out, between pg_backup_start and pg_backup_stop of a session that the caller holds. */
import { type BaseBackup, describeDamage, majorOf, type PageDamage } from '../domain/base-backup.ts';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { formatLsn, parseLsn } from '../domain/lsn.ts';
import type { SourceRecord } from '../domain/source-record.ts';
import { segmentNumberAt, type TimelineId, walSegmentName } from '../domain/wal-segment.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { sweepOrphans } from './base-backup-completion.ts';
import { codecs, type Compression } from './compression.ts';
import type { StoredObject } from './documents/manifest.ts';
import type { ObjectCipher } from './encryption/cipher.ts';
import { assertWritable } from './encryption.ts';
import { allEnded } from './parallel.ts';
import type { TablespaceSpec } from './documents/tablespace-spec.ts';
import { isFullBackupName, isIncrementalBackupName } from './layout.ts';
import type { ChangedBlocks } from './push/changed-blocks.ts';
import { readControlFile } from './push/control-file.ts';
import { findTablespaces, type WalkedFile, walkDataDirectory } from './push/data-directory-walk.ts';
import type { ManifestChecksum } from './push/file-digest.ts';
import { planIncrements } from './push/increment-plan.ts';
import { Once } from './push/once.ts';
import type { PageFormat } from './push/page-file.ts';
import type { IncrementalParent } from './push/parent-backup.ts';
import { type PushProgress, type SentParts, PartsUpload } from './push/part-upload.ts';
import { ClosingObjects, type Closing } from './push/closing-objects.ts';
import type { PackedFile, TarFile } from './push/tar-stream.ts';
import type { DeltaOrigin } from './sentinel.ts';
import { storeSourceRecord } from './source-records.ts';
import { packIntoParts } from './tar-partition.ts';

/** What pg_backup_start said, and what is known of the server. */
export interface BackupStart {
  /** `base_` and the name of the segment that holds the start position; of an incremental backup as chooseParent gives it. */
  readonly name: string;
  readonly timeline: TimelineId;
  /** `0/5000028`. */
  readonly startLsn: string;
  /** RFC 3339, by the server's clock. */
  readonly startTime: string;
  /** server_version_num. */
  readonly pgVersion: number;
  /** Decimal. */
  readonly systemIdentifier: string;
  readonly hostname: string;
  readonly walSegmentBytes: number;
}

/** What pg_backup_stop said. */
export interface BackupStop {
  readonly finishLsn: string;
  /** RFC 3339, by the server's clock. */
  readonly finishTime: string;
  readonly labelFile: string;
  /** Empty without tablespaces. */
  readonly tablespaceMap: string;
}

export interface UploadBaseBackupOptions {
  readonly store: ObjectStore;
  readonly dataDirectory: string;
  readonly compression: Compression;
  /** Default: not encrypted. */
  readonly cipher?: ObjectCipher | undefined;
  readonly start: BackupStart;
  /** Ends the backup; called once, when the store has all data. Its objects need not be complete: for that nothing is read. */
  readonly stop: () => Promise<BackupStop>;
  /** Uncompressed content of a part; a larger file gets a part of its own. Default 128 MiB. */
  readonly partBytes?: number;
  /** Parts at a time; each takes about 10 MiB beside what the store's upload buffers. Default 2. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PushProgress) => void;
  /** How the relations' files are laid out, by pg_control. Default: pages are not checked. */
  readonly pages?: PageFormat;
  /** In backup_manifest. Default crc32c, which is PostgreSQL's. */
  readonly manifestChecksum?: ManifestChecksum;
  /** Damaged pages are reported, or the backup fails for them. Default report. */
  readonly onDamage?: 'report' | 'fail';
  /** Adds to damage what the server knows of it. Default: it is reported by file. */
  readonly describeDamage?: (damage: PageDamage, signal: AbortSignal) => Promise<PageDamage>;
  /** Makes the backup an incremental one; needs `pages`, of 8192 bytes. Default: a full backup. */
  readonly parent?: IncrementalParent;
  /** Pages that changed since the parent began, by the server's WAL summaries. Default: every changed file is read. */
  readonly changed?: ChangedBlocks;
  /** Says how many bytes the data directory is believed to hold, for progress. */
  readonly estimateBytes?: (signal: AbortSignal) => Promise<number>;
  /** Says what the source is like, for those who restore it; asked while the parts are stored. Default: nothing is recorded. */
  readonly describeSource?: (signal: AbortSignal) => Promise<SourceRecord | undefined>;
}

/** What changes from one run of an upload to the next. */
type RunOptions = Pick<UploadBaseBackupOptions, 'signal' | 'onProgress'>;

/** A backup whose data is stored and that does not exist yet: completeBaseBackup makes it one. JSON-safe and small. */
export interface UploadedBaseBackup {
  readonly backup: BaseBackup;
  readonly tablespaces: TablespaceSpec | null;
  readonly filesMetadataDisabled: boolean;
  /** Sum of the sizes of all files. */
  readonly dataCatalogBytes: number;
  readonly damage: PageDamage | null;
  /** What an incremental backup builds on; its position as `0/5000028`. */
  readonly origin: (Omit<DeltaOrigin, 'startLsn'> & { readonly startLsn: string }) | null;
}

const defaultPartBytes = 128 * 1024 * 1024;
const defaultConcurrency = 2;
/** Members of one part: 16 MiB of files of one page. It bounds what is remembered of a part that is under way to some MB. */
const partMembers = 2048;
/** A walk takes some 30 µs for a file, during which nothing is read yet: 60 ms at most. */
const lookAheadFiles = 2048;
/** An agent that ends, or has another backup to take, does not wait longer for a store that is away. */
const abandonWithinMs = 10_000;
/** WAL-G reads increments with pages of this size unless it is told otherwise. */
export const incrementalBlockBytes = 8192;

/**
 * Uploads everything of a base backup but metadata.json and the sentinel. Leftovers of an interrupted backup of the same name are removed first.
 * @throws WalkbackError as BaseBackupUpload.run
 */
export async function uploadBaseBackup(options: UploadBaseBackupOptions): Promise<UploadedBaseBackup> {
  const upload = new BaseBackupUpload(options);
  try {
    return await upload.run(options);
  } finally {
    await upload.abandon();
  }
}

/**
 * The upload of a base backup. When a run fails because the store does, the next run goes on with what is not stored yet, as long as the backup session
 * lives: the caller holds both, and abandons the upload that no run comes for any more.
 */
export class BaseBackupUpload {
  readonly #options: UploadBaseBackupOptions;
  readonly #closing: ClosingObjects;
  readonly #parts: PartsUpload;
  readonly #swept = new Once<number>();
  readonly #expected = new Once<void>();
  readonly #tablespaces = new Once<TablespaceSpec | null>();
  readonly #sent = new Once<SentParts>();
  readonly #damage = new Once<PageDamage>();
  readonly #sourceStored = new Once<void>();
  readonly #control = new Once<Buffer>();
  readonly #controlStored = new Once<StoredObject>();
  readonly #stopped = new Once<BackupStop>();
  #dataCatalogBytes = 0;

  constructor(options: UploadBaseBackupOptions) {
    const { store, start, manifestChecksum = 'crc32c', concurrency = defaultConcurrency, partBytes = defaultPartBytes } = options;
    const target = { backup: start.name, codec: codecs[options.compression], cipher: options.cipher, manifestChecksum };
    this.#options = options;
    this.#closing = new ClosingObjects(store, target);
    // An incremental backup has read a file when its size is known, and remembers much of it.
    const parts = packIntoParts(this.#files(), {
      partBytes,
      partMembers,
      lookAheadFiles: options.parent === undefined ? lookAheadFiles : 0,
    });
    this.#parts = new PartsUpload(store, parts, { ...target, concurrency, pages: options.pages });
  }

  /**
   * Uploads what is not uploaded yet.
   * @throws WalkbackError ENCRYPTION_READ_ONLY, BACKUP_FAILED when a file cannot be read or the name is taken, DATA_DIRECTORY_DAMAGED for damaged pages where that was
   * asked for, and what the store throws; the signal's reason after an abort. Objects that were stored already stay behind without a sentinel
   * (sweepOrphans).
   */
  async run(options: RunOptions = {}): Promise<UploadedBaseBackup> {
    try {
      return await this.#run({ signal: options.signal ?? new AbortController().signal, onProgress: options.onProgress });
    } catch (error) {
      options.signal?.throwIfAborted();
      if (error instanceof WalkbackError) throw error;
      throw new WalkbackError('BACKUP_FAILED', `The base backup ${this.#name} failed: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Removes from the store what no run will complete. Safe after a run that ended well; without a word when the store is away. */
  async abandon(withinMs: number = abandonWithinMs): Promise<void> {
    await this.#parts.abandon(withinMs);
  }

  async #run(run: { readonly signal: AbortSignal; readonly onProgress: RunOptions['onProgress'] }): Promise<UploadedBaseBackup> {
    const { store, dataDirectory, start } = this.#options;
    const { signal } = run;
    assertWritable(this.#options.cipher);
    assertName(this.#options);
    const [tablespaces] = await allEnded([
      this.#tablespaces.get(() => tablespacesOf(dataDirectory)),
      // What this host left lately is known by name (UnfinishedBackups), and was removed before.
      this.#swept.get(() => sweepOrphans(store, start.name, { signal, onlyListed: true })),
      this.#parts.findFirst(),
      this.#expected.get(async () => this.#parts.expect((await this.#options.estimateBytes?.(signal)) ?? 0)),
    ]);
    const [sent] = await allEnded([
      this.#sent.get(() => this.#parts.send(run)),
      this.#sourceStored.get(() => this.#storeSourceRecord(signal)),
    ]);
    const parts = { ...sent, damage: await this.#damageOf(sent, signal) };
    if (this.#options.onDamage === 'fail' && parts.damage !== undefined) throw damagedPages(parts.damage);
    const [{ control, stop, objects }] = await allEnded([this.#close(parts, signal), this.#parts.complete(signal)]);
    const labelBytes = control.content.length + stop.labelFile.length + stop.tablespaceMap.length;
    const sizes = { uncompressedBytes: parts.contentBytes + labelBytes, objects };
    return {
      backup: describeBackup(this.#options, stop, { ...sizes, damage: parts.damage }),
      tablespaces,
      filesMetadataDisabled: parts.fileList === undefined,
      dataCatalogBytes: this.#dataCatalogBytes,
      damage: parts.damage ?? null,
      origin: originOf(this.#options.parent),
    };
  }

  /** Ends the backup on the server, and stores what is known only then. */
  async #close(parts: SentParts, signal: AbortSignal): Promise<Closing & { readonly objects: readonly StoredObject[] }> {
    const { dataDirectory, start } = this.#options;
    // After the data, so that a restore's pg_control is never older than a page it goes with.
    const content = await this.#control.get(() => readControlFile(dataDirectory, signal));
    const [object, stop] = await allEnded([
      this.#controlStored.get(() => this.#closing.uploadControl(content, signal)),
      this.#stopped.get(this.#options.stop),
    ]);
    const closing: Closing = { parts, control: { content, object }, start, stop };
    return { ...closing, objects: await this.#closing.upload(closing, signal) };
  }

  async #storeSourceRecord(signal: AbortSignal): Promise<void> {
    const { store, start, describeSource } = this.#options;
    const record = await describeSource?.(signal);
    if (record !== undefined) await storeSourceRecord(store, start.name, { record, signal });
  }

  async #damageOf({ damage }: SentParts, signal: AbortSignal): Promise<PageDamage | undefined> {
    const describe = this.#options.describeDamage;
    return damage === undefined || describe === undefined ? damage : await this.#damage.get(() => describe(damage, signal));
  }

  get #name(): string {
    return this.#options.start.name;
  }

  /** What goes into tars. */
  #files(): AsyncIterable<TarFile> {
    const { parent, pages, changed, manifestChecksum = 'crc32c', concurrency = defaultConcurrency } = this.#options;
    if (parent === undefined || pages === undefined) return this.#walk();
    const onSkipped = (file: PackedFile): void => this.#parts.listSkipped(file);
    return planIncrements(this.#walk(), { parent, pages, changed, manifestChecksum, concurrency, onSkipped });
  }

  async *#walk(): AsyncGenerator<WalkedFile> {
    const { dataDirectory, start } = this.#options;
    for await (const file of walkDataDirectory(dataDirectory, { pgMajor: majorOf(start.pgVersion) })) {
      this.#dataCatalogBytes += file.sizeBytes;
      yield file;
    }
  }
}

async function tablespacesOf(dataDirectory: string): Promise<TablespaceSpec | null> {
  const tablespaces = await findTablespaces(dataDirectory);
  return tablespaces.length === 0 ? null : { basePrefix: dataDirectory, tablespaces };
}

function assertName({ start, parent, pages }: UploadBaseBackupOptions): void {
  if (parent !== undefined && pages?.blockBytes !== incrementalBlockBytes)
    throw new WalkbackError('INVALID_REQUEST', `An incremental backup needs pages of ${incrementalBlockBytes} bytes.`);
  if (parent === undefined ? isFullBackupName(start.name) : isIncrementalBackupName(start.name)) return;
  const kind = parent === undefined ? 'a full' : 'an incremental';
  throw new WalkbackError('INVALID_REQUEST', `"${start.name}" is not the name of ${kind} base backup.`);
}

function originOf(parent: IncrementalParent | undefined): UploadedBaseBackup['origin'] {
  return parent === undefined ? null : { ...parent.origin, startLsn: formatLsn(parent.origin.startLsn) };
}

function damagedPages(damage: PageDamage): WalkbackError {
  return new WalkbackError('DATA_DIRECTORY_DAMAGED', `${describeDamage(damage)}.`, {
    hint: 'Restore the relations from an older backup, or take the backup with damaged pages reported instead of refused.',
    facts: { blockCount: damage.blockCount, files: damage.files.length },
  });
}

function describeBackup(
  { start, dataDirectory, parent }: UploadBaseBackupOptions,
  stop: BackupStop,
  found: { readonly uncompressedBytes: number; readonly objects: readonly StoredObject[]; readonly damage: PageDamage | undefined },
): BaseBackup {
  return {
    name: start.name,
    timeline: start.timeline,
    startLsn: start.startLsn,
    finishLsn: stop.finishLsn,
    startTime: start.startTime,
    finishTime: stop.finishTime,
    pgVersion: start.pgVersion,
    systemIdentifier: start.systemIdentifier,
    hostname: start.hostname,
    dataDirectory,
    uncompressedBytes: found.uncompressedBytes,
    compressedBytes: found.objects.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    isPermanent: false,
    deltaFrom: parent?.origin.from,
    startSegment: walSegmentName(
      { timeline: start.timeline, number: segmentNumberAt(parseLsn(start.startLsn), start.walSegmentBytes) },
      start.walSegmentBytes,
    ),
    ...(found.damage === undefined ? {} : { damagedBlockCount: found.damage.blockCount }),
  };
}
