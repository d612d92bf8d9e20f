/** Does a segment lie on a timeline of this cluster? By the history files in the archive and beside the segment. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf } from '../domain/errors.ts';
import { formatLsn, lsn } from '../domain/lsn.ts';
import { type TimelineStretch, timelinePath } from '../domain/timeline.ts';
import { historyFileName, parseWalSegmentName, segmentStart, type TimelineId } from '../domain/wal-segment.ts';
import type { WalHeader } from './wal-page.ts';

/** A cluster is promoted a few times in its life; more timelines than this are looked up anew. */
const rememberedMaximumCount = 256;

/** A segment that is to be archived. */
export interface SegmentOnTimeline {
  readonly name: string;
  /** Where it lies: the history file of its timeline lies beside it. */
  readonly path: string;
  readonly header: WalHeader;
  readonly segmentBytes: number;
}

/** Remembers the history files of one archive, so that each costs one request in the life of the process. */
export class WalTimelines {
  readonly #readHistory: (timeline: TimelineId) => Promise<string | undefined>;
  readonly #archived = new Map<TimelineId, string | undefined>();

  constructor(readHistory: (timeline: TimelineId) => Promise<string | undefined>) {
    this.#readHistory = readHistory;
  }

  /** A history file came into the archive. */
  forget(timeline: TimelineId): void {
    this.#archived.delete(timeline);
  }

  /**
   * Why the segment is none of this cluster's; undefined when nothing speaks against it. A timeline without a history file in the archive is
   * taken as it comes: archiving may have begun after the timeline did.
   */
  async whyForeign({ name, path, header, segmentBytes }: SegmentOnTimeline): Promise<string | undefined> {
    const { timeline, number } = parseWalSegmentName(name.slice(0, 24), segmentBytes);
    if (timeline === 1) return undefined;
    const fileName = historyFileName(timeline);
    const [archived, own] = [await this.#archivedHistory(timeline), await textOf(join(dirname(path), fileName))];
    if (archived !== undefined && own !== undefined && archived !== own) {
      return `${fileName} beside it is not the one in the archive, so timeline ${timeline} there is another server's`;
    }
    const history = archived ?? own;
    if (history === undefined) return undefined;
    try {
      return whyNotOnPath(timelinePath(timeline, history), { timeline, start: segmentStart(number, segmentBytes), header, segmentBytes });
    } catch (error) {
      return `the history of its timeline cannot be read: ${messageOf(error)}`;
    }
  }

  async #archivedHistory(timeline: TimelineId): Promise<string | undefined> {
    if (this.#archived.has(timeline)) return this.#archived.get(timeline);
    const text = await this.#readHistory(timeline);
    if (this.#archived.size >= rememberedMaximumCount) this.#archived.clear();
    this.#archived.set(timeline, text);
    return text;
  }
}

/** The first segment of a timeline begins as a copy of the one before the switch, header included; every other has the timeline's own. */
function whyNotOnPath(
  path: readonly TimelineStretch[],
  segment: { readonly timeline: TimelineId; readonly start: bigint; readonly header: WalHeader; readonly segmentBytes: number },
): string | undefined {
  const { timeline, start, header, segmentBytes } = segment;
  const switchLsn = path.at(-1)?.startLsn ?? lsn(0n);
  if (start + BigInt(segmentBytes) <= switchLsn) return `timeline ${timeline} begins at ${formatLsn(switchLsn)}, after it`;
  if (header.timeline === timeline) return undefined;
  if (start > switchLsn) return `its header says timeline ${header.timeline}, but ${timeline} began before it`;
  if (path.some((stretch) => stretch.timeline === header.timeline)) return undefined;
  return `its header says timeline ${header.timeline}, from which ${timeline} does not descend`;
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
