/**
 * Which pages of which relations changed since a position in the WAL, as the server's WAL summaries say (manual, "WAL Summarization Functions";
 * src/backend/backup/basebackup_incremental.c, GetFileBackupMethod). Of main forks only.
 */

/** A row of pg_wal_summary_contents. */
export interface SummaryRow {
  /** OIDs: tablespace, database, and the relation's filenode. */
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
  readonly block: number;
  /** The relation was cut to that many pages, or made anew: pages from there on may have changed too. */
  readonly isLimit: boolean;
}

/** What changed in one relation. */
interface ChangedRelation {
  limitBlock: number;
  blocks: number[];
}

/** OIDs of the tablespaces in PGDATA (src/include/catalog/pg_tablespace.dat). */
const defaultTablespace = 1663;
/** 128 GiB of changed pages, 200 MB here: reading the files is no longer the greater work. */
const maximumBlocks = 16_000_000;
const placePattern = /^\/(?:base\/(\d+)|pg_tblspc\/(\d+)\/PG_[^/]+\/(\d+))\/(\d+)(?:\.\d+)?$/;

export class ChangedBlocks {
  /** More changed than is remembered: then this says nothing. */
  get isTooLarge(): boolean {
    return this.#blockCount > maximumBlocks;
  }

  readonly #relations = new Map<string, ChangedRelation>();
  #blockCount = 0;

  add({ tablespace, database, relation, block, isLimit }: SummaryRow): void {
    const key = `${tablespace}/${database}/${relation}`;
    const changed = this.#relations.get(key) ?? { limitBlock: Infinity, blocks: [] };
    this.#relations.set(key, changed);
    if (isLimit) {
      changed.limitBlock = Math.min(changed.limitBlock, block);
      return;
    }
    this.#blockCount += 1;
    if (!this.isTooLarge) changed.blocks.push(block);
  }

  /**
   * Pages of a relation's file that changed, numbered within the file.
   * @returns 'all' when the whole file has to be stored
   */
  within(memberName: string, file: { readonly firstBlock: number; readonly blockCount: number }): Uint32Array | 'all' {
    const [, base, tablespace, database, relation] = placePattern.exec(memberName) ?? [];
    const place = `${tablespace ?? defaultTablespace}/${base ?? database}`;
    // A database that was made by copying files: filenode 0 stands for all of it.
    if (this.#relations.has(`${place}/0`)) return 'all';
    const changed = this.#relations.get(`${place}/${relation}`);
    if (changed === undefined) return new Uint32Array();
    if (changed.limitBlock <= file.firstBlock) return 'all';
    const end = file.firstBlock + file.blockCount;
    const found = new Set(changed.blocks.filter((block) => block >= file.firstBlock && block < end));
    for (let block = changed.limitBlock; block < end; block += 1) found.add(block);
    return Uint32Array.from(found, (block) => block - file.firstBlock).sort();
  }
}
