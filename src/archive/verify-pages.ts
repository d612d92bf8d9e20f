/** Verifies the checksum of every page of a data directory, as the base backup did when it was taken. A server may run on it. */
import { majorOf } from '../domain/base-backup.ts';
import { checkPages } from './push/page-check.ts';
import { walkDataDirectory } from './push/data-directory-walk.ts';
import { BlockCollector } from './push/page-damage.ts';
import { pageFileOf, type PageFormat } from './push/page-file.ts';
import { PageMemory } from './push/page-memory.ts';
import { SourceFile } from './push/source-file.ts';

/** What was found. */
export interface VerifiedPages {
  readonly pages: number;
  /** `base/5/16384: block 7`, the first ones. */
  readonly damaged: readonly string[];
  readonly damagedCount: number;
}

const pieceBytes = 1024 * 1024;
const namedMaximum = 10;

/** Reads everything once, one file after the other. */
export async function verifyPages(
  dataDirectory: string,
  options: {
    readonly pgVersion: number;
    readonly pages: PageFormat;
    readonly signal: AbortSignal;
    readonly onProgress: (bytesDone: number) => void;
  },
): Promise<VerifiedPages> {
  const { pages: format, signal } = options;
  const memory = new PageMemory(pieceBytes);
  const damaged: string[] = [];
  let [damagedCount, pageCount, bytesDone] = [0, 0, 0];
  for await (const { memberName, path, type, sizeBytes } of walkDataDirectory(dataDirectory, {
    pgMajor: majorOf(options.pgVersion),
    signal,
  })) {
    const pageFile = type === 'file' ? pageFileOf(memberName, format) : undefined;
    if (pageFile === undefined) continue;
    const collector = new BlockCollector();
    const file = { path, sizeBytes, firstBlock: pageFile.firstBlock };
    pageCount += await verifyFile(file, { memory, format, collector, signal });
    const found = collector.result();
    damagedCount += found?.count ?? 0;
    for (const block of found?.first ?? []) if (damaged.length < namedMaximum) damaged.push(`${memberName.slice(1)}: block ${block}`);
    bytesDone += sizeBytes;
    options.onProgress(bytesDone);
  }
  return { pages: pageCount, damaged, damagedCount };
}

async function verifyFile(
  file: { readonly path: string; readonly sizeBytes: number; readonly firstBlock: number },
  context: { readonly memory: PageMemory; readonly format: PageFormat; readonly collector: BlockCollector; readonly signal: AbortSignal },
): Promise<number> {
  const { memory, collector, signal } = context;
  const { blockBytes } = context.format;
  using source = await SourceFile.open(file.path);
  if (source === undefined) return 0;
  const wholeBytes = file.sizeBytes - (file.sizeBytes % blockBytes);
  for (let positionBytes = 0; positionBytes < wholeBytes; positionBytes += pieceBytes) {
    signal.throwIfAborted();
    const pages = memory.buffer(0, Math.min(pieceBytes, wholeBytes - positionBytes));
    await source.fill(pages, positionBytes);
    const reread = (page: Buffer, offsetBytes: number) => source.fill(page, positionBytes + offsetBytes);
    const block = file.firstBlock + positionBytes / blockBytes;
    await checkPages(memory, { pages, pageBytes: blockBytes, block, reread }, collector);
  }
  return wholeBytes / blockBytes;
}
