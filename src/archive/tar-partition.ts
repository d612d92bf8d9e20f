/** Packs files into bounded parts, in the order in which they come (wal-g: regular_tar_ball_composer.go). */

/** When a part is full. */
interface PartLimits {
  /** Bytes of file content; only a single file may exceed it. */
  readonly partBytes: number;
  /** Files and directories: bounds what has to be remembered of a part. */
  readonly partMembers: number;
}

/** Lists of neighbours that keep the limits; the files are taken only as fast as the parts are. */
export async function* packIntoParts<T extends { readonly sizeBytes: number }>(
  files: AsyncIterable<T> | Iterable<T>,
  limits: PartLimits,
): AsyncGenerator<readonly T[]> {
  let part: T[] = [];
  let contentBytes = 0;
  for await (const file of files) {
    if (part.length > 0 && (contentBytes + file.sizeBytes > limits.partBytes || part.length >= limits.partMembers)) {
      yield part;
      part = [];
      contentBytes = 0;
    }
    part.push(file);
    contentBytes += file.sizeBytes;
  }
  if (part.length > 0) yield part;
}
