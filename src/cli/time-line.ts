/** A restore window as a line from its beginning to its end, for a terminal of any width. */
import type { ArchiveWindow, BackupWindow, WindowHole } from '../domain/archive-window.ts';
import { formatInstant, type Instant, microsecondsOf } from '../domain/instant.ts';

/** Narrower than this nothing can be told apart. */
const minimumColumns = 40;
const maximumColumns = 160;
/** Backups with a line of their own; the newest are shown. */
const backupsMaximum = 12;

/** What the line is drawn with. */
interface Pens {
  readonly covered: string;
  readonly hole: string;
  readonly start: string;
  readonly end: string;
  readonly mark: string;
}
const unicodePens: Pens = { covered: '─', hole: '╳', start: '├', end: '▶', mark: '▲' };
const asciiPens: Pens = { covered: '-', hole: 'x', start: '|', end: '>', mark: '^' };

/** Where the line is drawn. */
export interface TimeLineOptions {
  readonly columns: number;
  /** Draw with ASCII alone: where the locale knows no more. Default false. */
  readonly ascii?: boolean;
}

/** @returns undefined where no two instants are known, as in an archive that another tool wrote */
export function renderTimeLine(window: ArchiveWindow, options: TimeLineOptions): string | undefined {
  const pens = options.ascii === true ? asciiPens : unicodePens;
  const width = Math.min(Math.max(options.columns, minimumColumns), maximumColumns) - 2;
  const span = spanOf(window);
  if (span === undefined) return undefined;
  const columnOf = (instant: Instant) => span.columnOf(instant, width);
  const shown = window.backups.filter(({ isUsable, toClosedAt }) => isUsable && toClosedAt !== undefined).slice(-backupsMaximum);
  const lines = shown.map((backup) => backupLine(backup, { columnOf, pens, holes: window.holes }));
  return [scale(span, width), ...lines, lastCommitLine(window, { columnOf, pens, width }), legend(window, pens)]
    .filter((line) => line !== undefined)
    .join('\n');
}

/** The instants at both ends. */
class Span {
  readonly from: Instant;
  readonly to: Instant;

  constructor(from: Instant, to: Instant) {
    this.from = from;
    this.to = to;
  }

  columnOf(instant: Instant, width: number): number {
    const [from, to, at] = [microsecondsOf(this.from), microsecondsOf(this.to), microsecondsOf(instant)];
    const share = Number(((at - from) * 10_000n) / (to - from)) / 10_000;
    return Math.round(Math.min(Math.max(share, 0), 1) * (width - 1));
  }
}

function spanOf({ backups }: ArchiveWindow): Span | undefined {
  const usable = backups.filter(({ isUsable }) => isUsable);
  const [from] = usable.map((backup) => backup.from).toSorted();
  const to = usable
    .flatMap(({ toClosedAt }) => (toClosedAt === undefined ? [] : [toClosedAt]))
    .toSorted()
    .at(-1);
  return from === undefined || to === undefined || to <= from ? undefined : new Span(from, to);
}

/** `2026-11-22 10:00:00 UTC            2026-11-24 09:12:40 UTC` */
function scale({ from, to }: Span, width: number): string {
  const [left, right] = [from, to].map((instant) => `${instant.slice(0, 10)} ${instant.slice(11, 19)} UTC`);
  return ` ${left ?? ''}${(right ?? '').padStart(width - (left ?? '').length)}`.trimEnd();
}

interface Drawing {
  readonly columnOf: (instant: Instant) => number;
  readonly pens: Pens;
}

/** From the backup's finish to where its WAL ends; a hole behind that end is what ends it. */
function backupLine(backup: BackupWindow, { columnOf, pens, holes }: Drawing & { readonly holes: readonly WindowHole[] }): string {
  const to = backup.toClosedAt ?? backup.from;
  const [first, last] = [columnOf(backup.from), columnOf(to)];
  const endsAtHole = holes.find((hole) => hole.after === to && hole.timeline === Number.parseInt(backup.toSegment?.slice(0, 8) ?? '0', 16));
  const reach =
    first === last
      ? pens.start
      : `${pens.start}${pens.covered.repeat(last - first - 1)}${endsAtHole === undefined ? pens.end : pens.covered}`;
  const gap = endsAtHole?.before === undefined ? '' : pens.hole.repeat(Math.max(1, columnOf(endsAtHole.before) - last));
  return ` ${' '.repeat(first)}${reach}${gap}`;
}

/** The label stands beside its mark where there is room, and under it where there is none. */
function lastCommitLine(
  { lastCommit }: ArchiveWindow,
  { columnOf, pens, width }: Drawing & { readonly width: number },
): string | undefined {
  if (lastCommit === null) return undefined;
  const column = columnOf(lastCommit.time);
  const label = `last commit ${formatInstant(lastCommit.time)}`;
  if (column > label.length) return ` ${`${label} `.padStart(column)}${pens.mark}`;
  const mark = ` ${' '.repeat(column)}${pens.mark}`;
  return column + 2 + label.length <= width ? `${mark} ${label}` : `${mark}\n ${label}`;
}

function legend({ holes }: ArchiveWindow, pens: Pens): string {
  const parts = [`${pens.start} base backup`, `${pens.covered} WAL`, ...(holes.length === 0 ? [] : [`${pens.hole} missing WAL`])];
  return ` ${parts.join('   ')}`;
}
