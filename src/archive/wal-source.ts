/** The WAL file that is to be archived, read whole. */
import { type FileHandle, open } from 'node:fs/promises';
import { WalkbackError } from '../domain/errors.ts';
import { formatNanoseconds } from './documents/files-metadata.ts';

/** A file as it was read. */
export interface WalSource {
  readonly bytes: Buffer;
  /** When it was last changed, RFC 3339. */
  readonly closedAt: string;
}

/**
 * Reads a file, into the buffer when it has just its size.
 * @param whyWrong says why the bytes are not what their name says
 * @throws WalkbackError WAL_REFUSED
 */
export async function readWalSource(
  file: { readonly name: string; readonly path: string },
  options: {
    readonly buffer: Buffer;
    readonly maximumBytes: number;
    readonly whyWrong: (bytes: Buffer) => string | undefined;
  },
): Promise<WalSource> {
  const { buffer, maximumBytes, whyWrong } = options;
  await using source = await open(file.path, 'r');
  const status = await source.stat({ bigint: true });
  if (status.size > BigInt(maximumBytes)) throw refusedSource(file, `it has ${status.size} bytes, more than ${maximumBytes}`);
  const bytes = status.size === BigInt(buffer.length) ? await filled(source, buffer) : await source.readFile();
  const reason = whyWrong(bytes);
  if (reason !== undefined) throw refusedSource(file, reason);
  return { bytes, closedAt: formatNanoseconds(status.mtimeNs) };
}

/** @throws RangeError when the file has become shorter */
async function filled(source: FileHandle, buffer: Buffer): Promise<Buffer> {
  for (let filledBytes = 0; filledBytes < buffer.length;) {
    const { bytesRead } = await source.read(buffer, filledBytes, buffer.length - filledBytes, filledBytes);
    if (bytesRead === 0) throw new RangeError(`it ends after ${filledBytes} bytes`);
    filledBytes += bytesRead;
  }
  return buffer;
}

/** The file is not what its name says, or of another server. */
export function refusedSource(file: { readonly name: string; readonly path: string }, reason: string): WalkbackError {
  return new WalkbackError('WAL_REFUSED', `${file.path} is not the WAL file ${file.name} of this cluster: ${reason}.`, {
    facts: { name: file.name, path: file.path },
  });
}
