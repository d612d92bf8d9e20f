/** Uploads the parts of a base backup: PGDATA's files in bounded tars, several at a time. */
import type { ObjectStore } from '../../storage/object-store.ts';
import type { Codec } from '../compression/codec.ts';
import { fileListPiece, type FileListPiece, type ListedFile } from '../documents/files-metadata.ts';
import type { StoredObject } from '../documents/manifest.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import { partFileName, tarPartitionsPrefix } from '../layout.ts';
import { forEachParallel } from '../parallel.ts';
import { packIntoParts } from '../tar-partition.ts';
import { walkDataDirectory, type WalkedFile } from './data-directory-walk.ts';
import { uploadObject } from './object-upload.ts';
import { tarOfFiles } from './tar-stream.ts';

/** How far an upload is. */
export interface PushProgress {
  /** Uncompressed content. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly partsDone: number;
}

interface PartUploadOptions {
  readonly backup: string;
  readonly dataDirectory: string;
  readonly pgMajor: number;
  readonly codec: Codec;
  readonly cipher: ObjectCipher | undefined;
  /** Uncompressed content of a part. */
  readonly partBytes: number;
  /** Parts at a time. */
  readonly concurrency: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PushProgress) => void) | undefined;
}

/** What was uploaded. */
export interface UploadedParts {
  readonly objects: readonly StoredObject[];
  /** Text of the file list, a piece for each part; undefined when there are more files than it may name. */
  readonly fileList: readonly FileListPiece[] | undefined;
  readonly contentBytes: number;
}

/** Members of one part. With the names it bounds what is remembered of a part to a few MB. */
const partMembers = 8192;
/** A file list of more names would take gigabytes in WAL-G and in a delta backup; 150 bytes each here. */
const maximumListedFiles = 1_000_000;

/** Uploads every part; the tree is walked twice, first for its size. */
export async function uploadParts(store: ObjectStore, options: PartUploadOptions): Promise<UploadedParts> {
  const upload = new PartsUpload(store, options, await measure(options));
  const parts = packIntoParts(walkDataDirectory(options.dataDirectory, options), { partBytes: options.partBytes, partMembers });
  await forEachParallel(parts, options, (files, signal) => upload.uploadPart(files, signal));
  return upload.result();
}

async function measure(options: PartUploadOptions): Promise<number> {
  let totalBytes = 0;
  for await (const file of walkDataDirectory(options.dataDirectory, options)) totalBytes += file.sizeBytes;
  return totalBytes;
}

/** Parts under way, and what is known of those that are done. */
class PartsUpload {
  readonly #store: ObjectStore;
  readonly #options: PartUploadOptions;
  readonly #totalBytes: number;
  readonly #objects: StoredObject[] = [];
  readonly #fileList: FileListPiece[] = [];
  #startedParts = 0;
  #listedFiles = 0;
  #contentBytes = 0;

  constructor(store: ObjectStore, options: PartUploadOptions, totalBytes: number) {
    this.#store = store;
    this.#options = options;
    this.#totalBytes = totalBytes;
  }

  async uploadPart(files: readonly WalkedFile[], signal: AbortSignal): Promise<void> {
    const { backup, codec, cipher } = this.#options;
    this.#startedParts += 1;
    const fileName = partFileName(this.#startedParts, codec.extension);
    const members: ListedFile[] = [];
    const chunks = tarOfFiles(files, {
      onFile: ({ memberName, changedNs }) => members.push({ name: memberName, changedNs }),
      onContent: (sizeBytes) => this.#count(sizeBytes),
    });
    const key = `${tarPartitionsPrefix(backup)}${fileName}`;
    this.#objects.push(await uploadObject(this.#store, key, { codec, cipher, chunks, signal }));
    this.#list(fileName, members);
    this.#report();
  }

  result(): UploadedParts {
    const fileList = this.#listedFiles > maximumListedFiles ? undefined : this.#fileList;
    return { objects: this.#objects, fileList, contentBytes: this.#contentBytes };
  }

  #list(fileName: string, members: readonly ListedFile[]): void {
    this.#listedFiles += members.length;
    if (this.#listedFiles > maximumListedFiles) this.#fileList.length = 0;
    else this.#fileList.push(fileListPiece(fileName, members));
  }

  #count(sizeBytes: number): void {
    this.#contentBytes += sizeBytes;
    this.#report();
  }

  #report(): void {
    this.#options.onProgress?.({ bytesDone: this.#contentBytes, bytesTotal: this.#totalBytes, partsDone: this.#objects.length });
  }
}
