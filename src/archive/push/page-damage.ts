/** Pages whose checksum is wrong, by the file they are in: a bounded account of them. */
import type { PageDamage } from '../../domain/base-backup.ts';

/** Files that are named; the count of blocks goes on beyond it. */
const maximumFiles = 100;
/** Blocks that are named for each file, as many as WAL-G names (wal-g: internal/databases/postgres/corrupt_blocks.go). */
export const maximumNamedBlocks = 10;

/** What a file's pages are found to be. */
export interface DamagedBlocks {
  readonly count: number;
  /** The first of them, numbered within the relation. */
  readonly first: readonly number[];
}

/** Collects the damaged pages of one file. */
export class BlockCollector {
  #count: number;
  readonly #first: number[];
  readonly #onBlock: ((block: number) => void) | undefined;

  /** @param known what was found before */
  constructor(known?: DamagedBlocks, onBlock?: (block: number) => void) {
    this.#count = known?.count ?? 0;
    this.#first = [...(known?.first ?? [])];
    this.#onBlock = onBlock;
  }

  add(block: number): void {
    this.#onBlock?.(block);
    this.#count += 1;
    if (this.#first.length < maximumNamedBlocks) this.#first.push(block);
  }

  /** Undefined when there are none. */
  result(): DamagedBlocks | undefined {
    return this.#count === 0 ? undefined : { count: this.#count, first: this.#first };
  }
}

/** Collects the damaged files of a backup; a part that is uploaded again is counted once. */
export class DamageCollector {
  readonly #files = new Map<string, DamagedBlocks>();
  #otherBlocks = 0;

  add(memberName: string, blocks: DamagedBlocks): void {
    if (this.#files.has(memberName) || this.#files.size < maximumFiles) this.#files.set(memberName, blocks);
    else this.#otherBlocks += blocks.count;
  }

  /** Undefined when no page is damaged. */
  result(): PageDamage | undefined {
    if (this.#files.size === 0) return undefined;
    const files = [...this.#files].map(([name, { count, first }]) => ({ file: name.slice(1), blockCount: count, blocks: first }));
    return { blockCount: this.#otherBlocks + files.reduce((total, { blockCount }) => total + blockCount, 0), files };
  }
}
