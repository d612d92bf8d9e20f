/** Decodes aws-chunked bodies with a trailer ("Signature calculations … including trailing headers" of the S3 API reference). */
import { S3Error } from './s3-error.ts';

/** A chunk's size line or a trailer line longer than this is no such line. */
const lineMaximumBytes = 1024;

/** The headers that follow the body; filled when the body has been read. */
export type Trailer = Map<string, string>;

/** Yields the payload of `hex-size[;…]CRLF bytes CRLF … 0 CRLF name:value CRLF CRLF`. @throws S3Error IncompleteBody, InvalidRequest */
export async function* decodeChunked(source: AsyncIterable<Buffer>, trailer: Trailer): AsyncIterable<Buffer> {
  let held: Buffer = Buffer.alloc(0);
  let remainingBytes = 0;
  let state: 'size' | 'payload' | 'payload-end' | 'trailer' = 'size';
  for await (const received of source) {
    held = held.length === 0 ? received : Buffer.concat([held, received]);
    while (held.length > 0) {
      if (state === 'payload') {
        const payload = held.subarray(0, remainingBytes);
        held = held.subarray(payload.length);
        remainingBytes -= payload.length;
        if (remainingBytes === 0) state = 'payload-end';
        yield payload;
        continue;
      }
      const line = takeLine(held);
      if (line === undefined) break;
      held = held.subarray(line.length + 2);
      if (state === 'size') {
        remainingBytes = sizeOf(line);
        state = remainingBytes === 0 ? 'trailer' : 'payload';
      } else if (state === 'payload-end') {
        if (line !== '') throw new S3Error('InvalidRequest', 'A chunk is longer than its size says.');
        state = 'size';
      } else readTrailerLine(line, trailer);
    }
  }
  if (state !== 'trailer') throw new S3Error('IncompleteBody', 'The chunked body ended before its last chunk.');
}

function takeLine(held: Buffer): string | undefined {
  const end = held.indexOf('\r\n');
  if (end > lineMaximumBytes || (end < 0 && held.length > lineMaximumBytes))
    throw new S3Error('InvalidRequest', 'The body is not aws-chunked.');
  return end < 0 ? undefined : held.toString('latin1', 0, end);
}

function sizeOf(line: string): number {
  const [, hex = ''] = /^([0-9a-fA-F]{1,8})(?:;.*)?$/.exec(line) ?? [];
  if (hex === '') throw new S3Error('InvalidRequest', `${JSON.stringify(line)} is not the size of a chunk.`);
  return Number.parseInt(hex, 16);
}

function readTrailerLine(line: string, trailer: Trailer): void {
  const colon = line.indexOf(':');
  if (colon > 0) trailer.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
}
