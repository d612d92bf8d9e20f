import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { array, assert as assertProperty, property, uint8Array } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Crc64Nvme } from '../../src/storage/crc64-nvme.ts';
import { KeptChecksum } from '../../src/storage/s3-kept-checksum.ts';

/** Bit by bit, as the RevEng catalogue describes CRC-64/NVME: another way than tables. */
function crc64Nvme(bytes: Uint8Array): bigint {
  let sum = 0xffffffffffffffffn;
  for (const byte of bytes) {
    sum ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit += 1) sum = (sum & 1n) === 1n ? (sum >> 1n) ^ 0x9a6c9329ac4bc9b5n : sum >> 1n;
  }
  return sum ^ 0xffffffffffffffffn;
}

function crc64Of(pieces: readonly Uint8Array[]): string {
  const running = new Crc64Nvme();
  for (const piece of pieces) running.update(piece);
  return running.digest().toString('hex');
}

const answerWith = (fields: Partial<GetObjectCommandOutput>): GetObjectCommandOutput => ({ $metadata: {}, ...fields });

const text = Buffer.from('123456789');
const big32 = (value: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes.toString('base64');
};
const sha = (algorithm: string): string => createHash(algorithm).update(text).digest('base64');
/** Of `123456789`: the check values of the RevEng catalogue, and node's own. */
const kept: readonly Partial<GetObjectCommandOutput>[] = [
  { ChecksumCRC32: big32(crc32(text)) },
  { ChecksumCRC32C: big32(0xe3069283) },
  { ChecksumCRC64NVME: Buffer.from('ae8b14860a799888', 'hex').toString('base64') },
  { ChecksumSHA1: sha('sha1') },
  { ChecksumSHA256: sha('sha256') },
  { ChecksumSHA512: sha('sha512') },
  { ChecksumMD5: sha('md5') },
];

describe('CRC-64/NVME', () => {
  it('is the sum that its definition makes, however the bytes are cut', () => {
    assertProperty(
      property(array(uint8Array({ maxLength: 70 }), { maxLength: 5 }), (pieces) => {
        expect(crc64Of(pieces)).toBe(crc64Nvme(Buffer.concat(pieces)).toString(16).padStart(16, '0'));
      }),
    );
  });

  it('takes more than its memory holds, also from memory that threads share', () => {
    const long = Buffer.from(new SharedArrayBuffer(300_000)).fill('more than one piece');
    expect(crc64Of([long])).toBe(crc64Of([long.subarray(0, 7), long.subarray(7, 200_001), long.subarray(200_001)]));
    expect(crc64Of([long])).not.toBe(crc64Of([long.subarray(1)]));
    expect(crc64Of([long.subarray(0, 140_000)])).toBe(crc64Nvme(long.subarray(0, 140_000)).toString(16).padStart(16, '0'));
  });
});

describe('the checksum that a store keeps', () => {
  it.each(kept)('is compared with what was read: %o', (fields) => {
    const [right, wrong] = [KeptChecksum.of(answerWith(fields)), KeptChecksum.of(answerWith(fields))];
    for (const piece of [text.subarray(0, 4), text.subarray(4)]) right?.update(piece);
    wrong?.update(Buffer.from('123456788'));
    expect(right).toBeDefined();
    expect(right?.mismatch()).toBeUndefined();
    expect(wrong?.mismatch()).toContain('and the store keeps');
  });

  it('is none of the whole object when it is made of the parts’ checksums, or of a kind that is not known', () => {
    expect(KeptChecksum.of(answerWith({ ChecksumCRC32: `${big32(1)}-3` }))).toBeUndefined();
    expect(KeptChecksum.of(answerWith({ ChecksumCRC32: big32(1), ChecksumType: 'COMPOSITE' }))).toBeUndefined();
    expect(KeptChecksum.of(answerWith({ ChecksumXXHASH64: big32(1) }))).toBeUndefined();
    expect(KeptChecksum.of(answerWith({}))).toBeUndefined();
  });
});
