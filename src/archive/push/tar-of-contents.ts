/** A small tar of contents that are in memory, or made while it is written. */
import { tarEnd, tarHeader, tarPaddingBytes } from '../tar-writer.ts';

/** WAL-G writes mode 0600 (bundle.go, uploadLabelFiles). */
const mode = 0o600;

/** The tar's bytes; member names are kept as they are. */
export function tarOfContents(contents: Readonly<Record<string, Buffer>>): Buffer {
  return Buffer.concat([...tarOfStreamed(contents, {})]);
}

/** A content that is made while it is written. */
export interface StreamedContent {
  readonly sizeBytes: number;
  readonly chunks: Iterable<Buffer>;
}

/** The same, followed by contents that are made while they are written. */
export function* tarOfStreamed(
  contents: Readonly<Record<string, Buffer>>,
  streamed: Readonly<Record<string, StreamedContent>>,
): Generator<Buffer> {
  for (const [name, content] of Object.entries(contents)) {
    yield tarHeader({ name, type: 'file', mode, sizeBytes: content.length, changedSeconds: 0 });
    yield content;
    yield Buffer.alloc(tarPaddingBytes(content.length));
  }
  for (const [name, { sizeBytes, chunks }] of Object.entries(streamed)) {
    yield tarHeader({ name, type: 'file', mode, sizeBytes, changedSeconds: 0 });
    yield* chunks;
    yield Buffer.alloc(tarPaddingBytes(sizeBytes));
  }
  yield tarEnd;
}
