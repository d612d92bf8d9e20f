/** A small tar of contents that are in memory. */
import { tarEnd, tarHeader, tarPaddingBytes } from '../tar-writer.ts';

/** The tar's bytes; member names are kept as they are. WAL-G writes mode 0600 (bundle.go, uploadLabelFiles). */
export function tarOfContents(contents: Readonly<Record<string, Buffer>>): Buffer {
  const blocks = Object.entries(contents).flatMap(([name, content]) => [
    tarHeader({ name, type: 'file', mode: 0o600, sizeBytes: content.length, changedSeconds: 0 }),
    content,
    Buffer.alloc(tarPaddingBytes(content.length)),
  ]);
  return Buffer.concat([...blocks, tarEnd]);
}
