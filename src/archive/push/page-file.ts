/** Which files of a data directory are made of pages (src/common/relpath.c, GetRelationPath; src/backend/backup/basebackup.c, is_checksummed_file). */

/** How a cluster's relation files are laid out, by its pg_control. */
export interface PageFormat {
  /** Size of a page, 8192 unless the server was built otherwise. */
  readonly blockBytes: number;
  /** Pages of one file of a relation, 131072 (1 GiB) unless the server was built otherwise. */
  readonly segmentBlocks: number;
  /** Do the pages carry checksums? */
  readonly hasChecksums: boolean;
}

/** A file of a relation. */
export interface PageFile {
  /** Its fork's file name without the segment: `16384` or `16384_vm`. */
  readonly fork: string;
  /** Number of the file's first page in the fork. */
  readonly firstBlock: number;
}

const placePattern = /^\/(?:global|base\/\d+|pg_tblspc\/\d+\/PG_[^/]+\/\d+)\/(\d+(?:_(?:fsm|vm|init))?)(?:\.(\d+))?$/;

/** The relation file of that name in a backup; undefined for any other file. */
export function pageFileOf(memberName: string, format: Pick<PageFormat, 'segmentBlocks'>): PageFile | undefined {
  const [, fork, segment] = placePattern.exec(memberName) ?? [];
  return fork === undefined ? undefined : { fork, firstBlock: Number(segment ?? 0) * format.segmentBlocks };
}
