/** The checksum of a file in PostgreSQL's manifest: CRC-32C, its default, or SHA-256. */
import { createHash, type Hash } from 'node:crypto';
import { crc32c } from '@node-rs/crc32';
import { crcText } from '../documents/backup-manifest.ts';
import type { PageMemory } from './page-memory.ts';

/** How files are described in backup_manifest. */
export type ManifestChecksum = 'crc32c' | 'sha256';

export class FileDigest {
  readonly #hash: Hash | undefined;
  readonly #crc32c: (bytes: Buffer, before: number) => number;
  #crc = 0;

  /** @param memory where all the bytes lie. Default: anywhere, which is slower */
  constructor(algorithm: ManifestChecksum, memory?: PageMemory) {
    this.#crc32c = memory === undefined ? crc32c : (bytes, before) => memory.crc32c(bytes, before);
    this.#hash = algorithm === 'sha256' ? createHash('sha256') : undefined;
  }

  update(bytes: Buffer): void {
    if (this.#hash === undefined) this.#crc = this.#crc32c(bytes, this.#crc);
    else this.#hash.update(bytes);
  }

  /** Lower-case hexadecimal, as the manifest has it. Asked for once. */
  text(): string {
    return this.#hash === undefined ? crcText(this.#crc) : this.#hash.digest('hex');
  }
}

/** The checksum of bytes that are in memory. */
export function digestOf(bytes: Buffer, algorithm: ManifestChecksum): string {
  const digest = new FileDigest(algorithm);
  digest.update(bytes);
  return digest.text();
}
