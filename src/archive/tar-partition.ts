/**
 * Packs files into bounded parts (wal-g: regular_tar_ball_composer.go). Large files go first, as far as one can see: what is stored last keeps everybody
 * waiting for its end, and a store takes long to put a large object together.
 */

/** When a part is full. */
interface PartLimits {
  /** Bytes of file content; only a single file may exceed it. */
  readonly partBytes: number;
  /** Files and directories: bounds what has to be remembered of a part. */
  readonly partMembers: number;
  /** Files that wait while larger ones are looked for. 0: no more than a part needs. */
  readonly lookAheadFiles: number;
}

/**
 * Lists that keep the limits. A file that fills a part goes ahead of those that wait; all others keep their order. The files are taken only as fast as
 * the parts are, and by the look-ahead sooner.
 */
export async function* packIntoParts<T extends { readonly sizeBytes: number }>(
  files: AsyncIterable<T> | Iterable<T>,
  limits: PartLimits,
): AsyncGenerator<readonly T[]> {
  const waiting: T[] = [];
  let waitingBytes = 0;
  const next = (): T[] => {
    const part = firstPart(waiting, limits);
    waitingBytes -= bytesOf(part);
    return part;
  };
  for await (const file of files) {
    if (file.sizeBytes >= limits.partBytes) {
      yield [file];
      continue;
    }
    waiting.push(file);
    waitingBytes += file.sizeBytes;
    const isPartFull = waitingBytes > limits.partBytes || waiting.length > limits.partMembers;
    if (isPartFull && waiting.length > limits.lookAheadFiles) yield next();
  }
  while (waiting.length > 0) yield next();
}

/** Takes the files of one part out: as many as the limits allow, and one at least. */
function firstPart<T extends { readonly sizeBytes: number }>(waiting: T[], limits: PartLimits): T[] {
  let contentBytes = 0;
  const members = waiting.findIndex(({ sizeBytes }, index) => {
    contentBytes += sizeBytes;
    return index > 0 && (contentBytes > limits.partBytes || index >= limits.partMembers);
  });
  return waiting.splice(0, members === -1 ? waiting.length : members);
}

function bytesOf(files: readonly { readonly sizeBytes: number }[]): number {
  return files.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
}
