/** Reads the file list of a backup: files_metadata.json, or the sentinel itself up to WAL-G 1.1. Only names and marks stay in memory. */
import { repeatWhenDamaged } from '../../storage/damaged-reads.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import type { JsonScalar } from '../documents/json-scanner.ts';
import type { StoredObject } from '../documents/manifest.ts';
import { scanStoredJson } from '../documents/stored-json.ts';
import type { FileNames } from './file-names.ts';
import { fileMark, LevelFiles } from './level-files.ts';
import { lastMembers } from './member-placement.ts';
import { normalizedMemberName } from './member-path.ts';

/** What the list says of a tar. */
interface ListedTar {
  readonly memberCount: number;
  /** Members that the restore needs from it. */
  readonly neededCount: number;
}

export interface FileList {
  readonly key: string;
  readonly files: LevelFiles;
  /** By the object's file name; empty where the list does not say (WAL-G's remote backups). */
  readonly tars: ReadonlyMap<string, ListedTar>;
}

export interface FileListOptions {
  readonly store: ObjectStore;
  readonly key: string;
  /** What our manifest says of the object. */
  readonly expected: StoredObject | undefined;
  /** Gets the names. */
  readonly names: FileNames;
  /** The delta above, which decides what is needed; undefined for the newest backup, of which everything is. */
  readonly above: LevelFiles | undefined;
  readonly signal: AbortSignal;
}

/**
 * @returns undefined when the object is absent, or names no file
 * @throws WalkbackError OBJECT_DAMAGED naming the key
 */
export async function readFileList(options: FileListOptions): Promise<FileList | undefined> {
  const { store, key, expected, signal } = options;
  return await repeatWhenDamaged(async () => {
    // Begins anew each time. Names that a damaged read has left are in no level, so nobody asks for them.
    const collector = new FileListCollector(options);
    const isThere = await scanStoredJson(store, key, { listener: collector, expectedSha256: expected?.sha256, signal });
    if (!isThere) return undefined;
    return collector.fileCount === 0 ? undefined : { key, files: collector.files, tars: collector.tars };
  });
}

type Section = 'files' | 'tarfilesets' | undefined;

/** Go's decoder takes names of members in any case, and so does this. */
class FileListCollector {
  readonly files = new LevelFiles();
  readonly tars = new Map<string, ListedTar>();
  fileCount = 0;
  readonly #names: FileNames;
  readonly #above: LevelFiles | undefined;
  #section: Section;
  #number = 0;
  #attribute = '';
  #tar = '';

  constructor({ names, above }: FileListOptions) {
    this.#names = names;
    this.#above = above;
  }

  key(depth: number, name: string): void {
    if (depth === 1) this.#section = sectionOf(name);
    else if (depth === 2 && this.#section === 'files') this.#file(name);
    else if (depth === 2 && this.#section === 'tarfilesets') this.#tar = name;
    else if (depth === 3) this.#attribute = name.toLowerCase();
  }

  value(depth: number, value: JsonScalar): void {
    if (depth !== 3) return;
    if (this.#section === 'tarfilesets' && typeof value === 'string') this.#member(value);
    if (this.#section !== 'files' || value !== true) return;
    if (this.#attribute === 'isincremented') this.files.mark(this.#number, fileMark.incremented);
    if (this.#attribute === 'isskipped') this.files.mark(this.#number, fileMark.skipped);
  }

  #file(name: string): void {
    const normalized = normalizedMemberName(name);
    this.#number = this.#names.add(normalized);
    this.fileCount += 1;
    // WAL-G's remote backups list these too; they are brought apart from all others.
    if (lastMembers.includes(normalized)) return;
    const isNeeded = this.#above === undefined || this.#above.needsParent(this.#number);
    this.files.mark(this.#number, fileMark.listed | (isNeeded ? fileMark.needed : 0));
  }

  #member(name: string): void {
    const { memberCount, neededCount } = this.tars.get(this.#tar) ?? { memberCount: 0, neededCount: 0 };
    const number = this.#above === undefined ? undefined : this.#names.find(normalizedMemberName(name));
    const isNeeded = this.#above === undefined || (number !== undefined && this.#above.needsParent(number));
    this.tars.set(this.#tar, { memberCount: memberCount + 1, neededCount: neededCount + (isNeeded ? 1 : 0) });
  }
}

function sectionOf(name: string): Section {
  const lower = name.toLowerCase();
  return lower === 'files' || lower === 'tarfilesets' ? lower : undefined;
}
