/**
 * The checksum that an S3 store keeps of an object, compared with what is read of it. The SDK does so in JavaScript, on the main thread, which is slower than
 * a disk, and no more once a connection broke.
 */
import { createHash } from 'node:crypto';
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { crc32, crc32c } from '@node-rs/crc32';
import { Crc64Nvme } from './crc64-nvme.ts';

/** A checksum over bytes that come in pieces. */
interface RunningChecksum {
  readonly update: (bytes: Uint8Array) => void;
  readonly digest: () => Buffer;
}

/** The cheapest first, as a store may keep several. Of those that are not here (XXHash) there is no native code at hand. */
const algorithms: Readonly<Record<string, { readonly field: keyof GetObjectCommandOutput; readonly start: () => RunningChecksum }>> = {
  CRC32: { field: 'ChecksumCRC32', start: () => crcOf(crc32) },
  CRC64NVME: { field: 'ChecksumCRC64NVME', start: () => new Crc64Nvme() },
  CRC32C: { field: 'ChecksumCRC32C', start: () => crcOf(crc32c) },
  SHA1: { field: 'ChecksumSHA1', start: () => createHash('sha1') },
  SHA256: { field: 'ChecksumSHA256', start: () => createHash('sha256') },
  MD5: { field: 'ChecksumMD5', start: () => createHash('md5') },
  SHA512: { field: 'ChecksumSHA512', start: () => createHash('sha512') },
};

/** Takes the bytes of an object in their order, and says at the end whether they are those that the store was given. */
export class KeptChecksum {
  readonly #algorithm: string;
  readonly #kept: string;
  readonly #running: RunningChecksum;

  private constructor(algorithm: string, kept: string, running: RunningChecksum) {
    this.#algorithm = algorithm;
    this.#kept = kept;
    this.#running = running;
  }

  /**
   * Of an answer that brings a whole object. @returns undefined when the store keeps none of the object as a whole: a checksum of the parts' checksums
   * (S3 user guide, "Checking object integrity", composite) ends with their number, and the parts' sizes are not known here
   */
  static of(answer: GetObjectCommandOutput): KeptChecksum | undefined {
    if (answer.ChecksumType === 'COMPOSITE') return undefined;
    for (const [name, { field, start }] of Object.entries(algorithms)) {
      const kept = answer[field];
      if (typeof kept === 'string' && !/-\d+$/.test(kept)) return new KeptChecksum(name, kept, start());
    }
    return undefined;
  }

  update(bytes: Uint8Array): void {
    this.#running.update(bytes);
  }

  /** Asked for once, when all bytes were taken. @returns what is wrong, undefined when they are right */
  mismatch(): string | undefined {
    const found = this.#running.digest().toString('base64');
    return found === this.#kept ? undefined : `Checksum mismatch: its ${this.#algorithm} is ${found}, and the store keeps ${this.#kept}`;
  }
}

function crcOf(next: (bytes: Uint8Array, crc: number) => number): RunningChecksum {
  let crc = 0;
  return {
    update: (bytes) => {
      crc = next(bytes, crc);
    },
    digest: () => {
      const value = Buffer.alloc(4);
      value.writeUInt32BE(crc >>> 0);
      return value;
    },
  };
}
