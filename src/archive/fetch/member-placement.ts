/** What is done with each member of a tar, by what the chain says of its backup. */
import type { TablespaceSpec } from '../documents/tablespace-spec.ts';
import { backupManifestMember, labelMembers, pgControlMember } from '../layout.ts';
import type { TarMember } from '../tar-reader.ts';
import { FileNames, type SharedNames } from './file-names.ts';
import { fileMark, LevelFiles } from './level-files.ts';
import { memberPath, normalizedMemberName } from './member-path.ts';

/** Read by PostgreSQL before anything else, or about everything else, so they come last; whatever tar they lie in. */
export const lastMembers: readonly string[] = [...Object.values(labelMembers), backupManifestMember, pgControlMember.slice(1)];

/** Facts about a backup and a tar of it; may be passed to another thread. */
export interface PlacementFacts {
  /** The new data directory. */
  readonly into: string;
  readonly tablespaces: TablespaceSpec | undefined;
  /** Its increments change files that an earlier backup brought. */
  readonly isDelta: boolean;
  /** The last of the chain: the one that labels, pg_control and directories come from. */
  readonly isNewest: boolean;
  /** Undefined without a file list: then everything is wanted. */
  readonly files: { readonly names: SharedNames; readonly marks: SharedArrayBuffer } | undefined;
  /** Where the last members go; undefined: nowhere, since another tar brings them. */
  readonly lastMembersTo: Readonly<Partial<Record<string, string>>>;
}

export type Placement = 'nowhere' | { readonly path: string; readonly kind: 'directory' | 'file' | 'increment' };

export class MemberPlacement {
  readonly #facts: PlacementFacts;
  readonly #names: FileNames | undefined;
  readonly #files: LevelFiles | undefined;
  /** A bit for each file that was among the members so far. */
  readonly #seen: Uint8Array;
  #arrivedCount = 0;

  constructor(facts: PlacementFacts) {
    this.#facts = facts;
    this.#names = facts.files === undefined ? undefined : new FileNames(facts.files.names);
    this.#files = facts.files === undefined ? undefined : new LevelFiles(facts.files.marks);
    this.#seen = new Uint8Array(Math.ceil((this.#names?.count ?? 0) / 8));
  }

  /** How many of the files that the backup has to bring were among the members so far. */
  get arrivedCount(): number {
    return this.#arrivedCount;
  }

  /** @throws SyntaxError for a name that leads out of the data directory */
  of(member: TarMember): Placement {
    const name = normalizedMemberName(member.name);
    const { into, tablespaces, isDelta, isNewest } = this.#facts;
    if (lastMembers.includes(name)) return this.#lastMember(name);
    const marks = this.#arrive(name);
    if (member.type === 'directory') return isNewest ? { path: memberPath(name, into, tablespaces), kind: 'directory' } : 'nowhere';
    // WAL-G stores a link with its own base name as its target (reference: wal-g tar_interpreter.go): it says nothing and is left out.
    if (member.type === 'link' || (marks & fileMark.needed) === 0) return 'nowhere';
    const isIncrement = isDelta && (marks & fileMark.incremented) !== 0;
    return { path: memberPath(name, into, tablespaces), kind: isIncrement ? 'increment' : 'file' };
  }

  #lastMember(name: string): Placement {
    const path = this.#facts.lastMembersTo[name];
    return path === undefined ? 'nowhere' : { path, kind: 'file' };
  }

  #arrive(name: string): number {
    if (this.#names === undefined || this.#files === undefined) return fileMark.needed;
    const number = this.#names.find(name);
    const marks = this.#files.marksOf(number);
    if (number === undefined || (marks & fileMark.needed) === 0) return marks;
    this.#files.mark(number, fileMark.arrived);
    if (this.#see(number)) this.#arrivedCount += 1;
    return marks;
  }

  /** Is it the first time? The marks do not tell: an earlier try of the tar, which came to no good end, has made them too. */
  #see(number: number): boolean {
    const [index, bit] = [number >> 3, 1 << (number & 7)];
    const seen = this.#seen[index] ?? 0;
    this.#seen[index] = seen | bit;
    return (seen & bit) === 0;
  }
}
