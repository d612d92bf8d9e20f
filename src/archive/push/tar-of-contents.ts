/** A small tar of contents that are in memory, or made while it is written. */
import { tarEnd, tarHeader, tarPaddingBytes } from '../tar-writer.ts';

/** WAL-G writes mode 0600 (bundle.go, uploadLabelFiles). */
const mode = 0o600;

/** The tar's bytes; member names are kept as they are. */
export function tarOfContents(contents: Readonly<Record<string, Buffer>>): Buffer {
  return Buffer.concat([...tarOfStreamed(contents, {})]);
}

/** The same, followed by contents that are made twice: once to know their size, once to be written. */
export function* tarOfStreamed(
  contents: Readonly<Record<string, Buffer>>,
  streamed: Readonly<Record<string, () => Iterable<Buffer>>>,
): Generator<Buffer> {
  for (const [name, content] of Object.entries(contents)) {
    yield tarHeader({ name, type: 'file', mode, sizeBytes: content.length, changedSeconds: 0 });
    yield content;
    yield Buffer.alloc(tarPaddingBytes(content.length));
  }
  for (const [name, make] of Object.entries(streamed)) {
    let sizeBytes = 0;
    for (const chunk of make()) sizeBytes += chunk.length;
    yield tarHeader({ name, type: 'file', mode, sizeBytes, changedSeconds: 0 });
    yield* make();
    yield Buffer.alloc(tarPaddingBytes(sizeBytes));
  }
  yield tarEnd;
}
