/**
 * PostgreSQL's own manifest of a base backup, which pg_verifybackup checks a directory against (manual, "Backup Manifest Format";
 * src/backend/backup/backup_manifest.c). Written in pieces, as it may name a million files.
 */
import { createHash } from 'node:crypto';
import { majorOf } from '../../domain/base-backup.ts';
import type { HeldText } from './held-text.ts';

/** A file as it lies in the backup. */
export interface ManifestFile {
  /** Relative to the data directory, `base/5/1259`. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly changedNs: bigint;
  /** Lower-case hexadecimal as checksumText gives it; undefined when nobody read the whole file. */
  readonly checksum: string | undefined;
}

/** What the manifest says beside its files. */
export interface ManifestFacts {
  /** server_version_num: version 2 of the manifest came with 17. */
  readonly pgVersion: number;
  /** Decimal. */
  readonly systemIdentifier: string;
  readonly timeline: number;
  /** `0/5000028`: WAL that the backup needs. */
  readonly startLsn: string;
  readonly finishLsn: string;
}

/** First major whose manifest names the system identifier. */
const secondVersionMajor = 17;
/** A CRC-32C in hexadecimal has so many digits; a SHA-256 has 64. */
const crcDigits = 8;

/** The checksum of a CRC-32C as the manifest has it: the bytes as they lie in memory, the lowest first. */
export function crcText(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(crc >>> 0);
  return bytes.toString('hex');
}

/** The entry of one file. */
export function manifestEntry({ path, sizeBytes, changedNs, checksum }: ManifestFile): string {
  const time = new Date(Number(changedNs / 1_000_000n)).toISOString();
  const modified = `${time.slice(0, 10)} ${time.slice(11, 19)} GMT`;
  const proof =
    checksum === undefined
      ? ''
      : `, "Checksum-Algorithm": "${checksum.length === crcDigits ? 'CRC32C' : 'SHA256'}", "Checksum": "${checksum}"`;
  return `{ "Path": ${JSON.stringify(path)}, "Size": ${sizeBytes}, "Last-Modified": "${modified}"${proof} }`;
}

/** The whole manifest, of pieces that hold entries with `,\n` between them. It ends with the SHA-256 of all that stands before. */
export function* backupManifestDocument(facts: ManifestFacts, pieces: Iterable<HeldText>): Generator<Buffer> {
  const hash = createHash('sha256');
  for (const bytes of hashedPart(facts, pieces)) {
    hash.update(bytes);
    yield bytes;
  }
  yield checksumLine(hash.digest('hex'));
}

/** How long the manifest is, without making it. */
export function backupManifestBytes(facts: ManifestFacts, pieces: Iterable<HeldText>): number {
  let sizeBytes = checksumLine(createHash('sha256').digest('hex')).length;
  for (const bytes of hashedPart(facts, [])) sizeBytes += bytes.length;
  for (const [index, piece] of [...pieces].filter(isNotEmpty).entries()) sizeBytes += separatorAt(index).length + piece.sizeBytes;
  return sizeBytes;
}

function* hashedPart(facts: ManifestFacts, pieces: Iterable<HeldText>): Generator<Buffer> {
  const isSecond = majorOf(facts.pgVersion) >= secondVersionMajor;
  const identifier = isSecond ? `"System-Identifier": ${facts.systemIdentifier},\n` : '';
  yield Buffer.from(`{ "PostgreSQL-Backup-Manifest-Version": ${isSecond ? 2 : 1},\n${identifier}"Files": [`);
  let index = 0;
  for (const piece of pieces) {
    if (!isNotEmpty(piece)) continue;
    yield separatorAt(index);
    yield piece.bytes();
    index += 1;
  }
  const range = `{ "Timeline": ${facts.timeline}, "Start-LSN": "${facts.startLsn}", "End-LSN": "${facts.finishLsn}" }`;
  yield Buffer.from(`\n],\n"WAL-Ranges": [\n${range}\n],\n`);
}

function separatorAt(index: number): Buffer {
  return Buffer.from(index === 0 ? '\n' : ',\n');
}

function isNotEmpty(piece: HeldText): boolean {
  return piece.sizeBytes > 0;
}

function checksumLine(sha256: string): Buffer {
  return Buffer.from(`"Manifest-Checksum": "${sha256}"}\n`);
}
