/**
 * What the file list of one backup says, and which of its files a restore needs from it. A delta's list names every file of the cluster:
 * those that it holds whole, those of which it holds the changed pages, and those that its parent has as they are
 * (wal-g: internal/databases/postgres/backup_fetch_handler.go, GetBaseFilesToUnwrap).
 */
import type { FileNames } from './file-names.ts';

/** Marks of a file in one backup of a chain. */
export const fileMark = {
  /** The backup's list names it. */
  listed: 1,
  /** The tar holds changed pages only. Names tell nothing: this alone decides. */
  incremented: 2,
  /** Unchanged since the parent, and in no tar of this backup. */
  skipped: 4,
  /** The restored cluster has it, or has it on top of this. */
  needed: 8,
  /** A tar has brought it, in this process. */
  arrived: 16,
} as const;

const inParent = fileMark.incremented | fileMark.skipped;

export class LevelFiles {
  #marks: Uint8Array;

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(1024)) {
    this.#marks = new Uint8Array(shared);
  }

  /** Marks of the file with that number. */
  marksOf(number: number | undefined): number {
    return number === undefined ? 0 : (this.#marks[number] ?? 0);
  }

  mark(number: number, marks: number): void {
    if (number >= this.#marks.length) {
      const larger = new Uint8Array(new SharedArrayBuffer(Math.max(this.#marks.length * 2, number + 1)));
      larger.set(this.#marks);
      this.#marks = larger;
    }
    this.#marks[number] = (this.#marks[number] ?? 0) | marks;
  }

  /** Does the parent have to bring this file first? */
  needsParent(number: number): boolean {
    const marks = this.marksOf(number);
    return (marks & fileMark.needed) !== 0 && (marks & inParent) !== 0;
  }

  hasArrived(number: number): boolean {
    return (this.marksOf(number) & fileMark.arrived) !== 0;
  }

  /** Numbers of the files that some tar of this backup has to bring. */
  *expected(): Generator<number> {
    for (let number = 0; number < this.#marks.length; number += 1) {
      const marks = this.marksOf(number);
      if ((marks & fileMark.needed) !== 0 && (marks & fileMark.skipped) === 0) yield number;
    }
  }

  /** The memory, for the threads that extract. */
  share(): SharedArrayBuffer {
    return this.#marks.buffer as SharedArrayBuffer;
  }
}

/** A file that a delta has from its parent, and that the parent's list does not name; undefined when there is none. */
export function missingInParent(names: FileNames, delta: LevelFiles, parent: LevelFiles | undefined): string | undefined {
  for (let number = 0; number < names.count; number += 1) {
    const isMissing = delta.needsParent(number) && ((parent?.marksOf(number) ?? 0) & fileMark.listed) === 0;
    if (isMissing) return names.nameOf(number);
  }
  return undefined;
}
