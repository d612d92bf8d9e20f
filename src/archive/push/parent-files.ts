/** What a parent backup says of its files: the part of files_metadata.json that an incremental backup decides by, of a million files in some 150 MB. */
import { repeatWhenDamaged } from '../../storage/damaged-reads.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { parseNanoseconds } from '../documents/files-metadata.ts';
import type { JsonEvents, JsonScalar } from '../documents/json-scanner.ts';
import { parseManifest } from '../documents/manifest.ts';
import { readDocument } from '../documents/stored-document.ts';
import { scanStoredJson } from '../documents/stored-json.ts';
import { FileNames } from '../fetch/file-names.ts';
import { filesMetadataKey, manifestKey } from '../layout.ts';

/** One file of the parent, in its tars or in those of its own parents. */
export interface ParentFile {
  readonly changedNs: bigint;
  /** Size and checksum of the restored file; undefined in backups that WAL-G made. */
  readonly sizeBytes: number | undefined;
  readonly checksum: string | undefined;
}

/** As many as a file list may name (part-upload.ts). */
const maximumFiles = 1_000_000;

export class ParentFiles implements JsonEvents {
  readonly #names = new FileNames();
  #changedNs = new BigInt64Array(1024);
  readonly #sizes: (number | undefined)[] = [];
  readonly #checksums: (string | undefined)[] = [];
  #isInFiles = false;
  #number = 0;
  #attribute = '';
  #hasDamage = false;

  /**
   * Reads the list of a backup.
   * @returns undefined when it has none
   * @throws WalkbackError OBJECT_DAMAGED naming the key
   */
  static async read(store: ObjectStore, backup: string, signal: AbortSignal): Promise<ParentFiles | undefined> {
    const key = filesMetadataKey(backup);
    const manifest = await readDocument(store, manifestKey(backup), { parse: parseManifest, signal });
    return await repeatWhenDamaged(async () => {
      const files = new ParentFiles();
      const isThere = await scanStoredJson(store, key, { listener: files, expectedSha256: manifest?.get(key)?.sha256, signal });
      return isThere && files.#names.count > 0 ? files : undefined;
    });
  }

  /** Does the list name damaged pages? */
  get hasDamage(): boolean {
    return this.#hasDamage;
  }

  /** The file of that member's name; undefined when the parent has none. */
  find(memberName: string): ParentFile | undefined {
    const number = this.#names.find(memberName);
    if (number === undefined) return undefined;
    return { changedNs: this.#changedNs[number] ?? 0n, sizeBytes: this.#sizes[number], checksum: this.#checksums[number] };
  }

  key(depth: number, name: string): void {
    if (depth === 1) this.#isInFiles = name.toLowerCase() === 'files';
    if (!this.#isInFiles) return;
    if (depth === 2) this.#begin(name);
    if (depth === 3) this.#attribute = name.toLowerCase();
    if (depth === 3 && this.#attribute === 'corruptblocks') this.#hasDamage = true;
  }

  value(depth: number, value: JsonScalar): void {
    if (depth !== 3 || !this.#isInFiles) return;
    if (this.#attribute === 'mtime') this.#changedNs[this.#number] = parseNanoseconds(String(value));
    if (this.#attribute === 'walkbackbytes') this.#sizes[this.#number] = Number(value);
    if (this.#attribute === 'walkbackchecksum') this.#checksums[this.#number] = String(value);
  }

  #begin(name: string): void {
    this.#number = this.#names.add(name);
    if (this.#number >= maximumFiles) throw new SyntaxError(`it names more than ${maximumFiles} files`);
    if (this.#number < this.#changedNs.length) return;
    const larger = new BigInt64Array(this.#changedNs.length * 2);
    larger.set(this.#changedNs);
    this.#changedNs = larger;
  }
}
