/** Archives as we write them, small enough to be whole in memory. */
import { type TarEntry, tarEnd, tarHeader, tarPaddingBytes } from '../../../src/archive/tar-writer.ts';

/** A file of an archive. */
export interface Member {
  readonly name: string;
  readonly content: Buffer;
}

/** An archive of files. */
export function tarOf(members: readonly Member[]): Buffer {
  const blocks = members.flatMap(({ name, content }) => {
    const entry: TarEntry = { name, type: 'file', mode: 0o600, sizeBytes: content.length, changedSeconds: 1_700_000_000 };
    return [tarHeader(entry), content, Buffer.alloc(tarPaddingBytes(content.length))];
  });
  return Buffer.concat([...blocks, tarEnd]);
}
