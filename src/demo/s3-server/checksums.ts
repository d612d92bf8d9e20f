/** The checksums that S3 takes beside an object (x-amz-checksum-*). */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { S3Error } from './s3-error.ts';

/** A checksum that is served, as in the header's name. */
export type ChecksumName = 'crc32' | 'crc32c' | 'sha1' | 'sha256';

/** A checksum with its value in base64. */
export interface Checksum {
  readonly name: ChecksumName;
  readonly value: string;
}

/** Computes a checksum over chunks. */
export interface RunningChecksum {
  update(bytes: Uint8Array): void;
  digest(): string;
}

const headerPrefix = 'x-amz-checksum-';

/** The name behind a header or trailer such as `x-amz-checksum-crc32`. @throws S3Error NotImplemented for those not served */
export function checksumNameOf(header: string): ChecksumName | undefined {
  if (!header.startsWith(headerPrefix) || ['algorithm', 'mode', 'type'].includes(header.slice(headerPrefix.length))) return undefined;
  return requireChecksumName(header.slice(headerPrefix.length));
}

/** @throws S3Error NotImplemented */
export function requireChecksumName(name: string): ChecksumName {
  if (name === 'crc32' || name === 'crc32c' || name === 'sha1' || name === 'sha256') return name;
  throw new S3Error('NotImplemented', `The checksum ${name} is not served here: use crc32, crc32c, sha1 or sha256.`);
}

/** Begins a checksum. */
export function startChecksum(name: ChecksumName): RunningChecksum {
  if (name === 'sha1' || name === 'sha256') {
    const hash = createHash(name);
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('base64') };
  }
  const advance = name === 'crc32' ? crc32 : crc32c;
  let value = 0;
  return {
    update: (bytes) => {
      value = advance(bytes, value);
    },
    digest: () => bigEndian(value).toString('base64'),
  };
}

/** S3's checksum of a multipart object: the checksum of the parts' checksums, and their number. */
export function compositeChecksum(name: ChecksumName, parts: readonly string[]): Checksum {
  const running = startChecksum(name);
  for (const part of parts) running.update(Buffer.from(part, 'base64'));
  return { name, value: `${running.digest()}-${parts.length}` };
}

const crc32cTable = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** CRC-32C (Castagnoli), reflected, a byte at a time: only foreign clients send it here. */
function crc32c(bytes: Uint8Array, before: number): number {
  let value = ~before;
  for (const byte of bytes) value = (crc32cTable[(value ^ byte) & 0xff] ?? 0) ^ (value >>> 8);
  return ~value >>> 0;
}

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
