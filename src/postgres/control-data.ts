/**
 * global/pg_control, read without pg_controldata, which not every installation has and which misreads other majors.
 * The layout is struct ControlFileData in src/include/catalog/pg_control.h of each branch, on a little-endian machine with 8-byte alignment:
 * pg_control_version 1300 is PostgreSQL 13 to 16, 1700 is 17, 1800 is 18.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WalkbackError } from '../domain/errors.ts';
import { type Instant, instantOf } from '../domain/instant.ts';
import { formatLsn, lsn } from '../domain/lsn.ts';
import type { TimelineId } from '../domain/wal-segment.ts';
import { crc32c } from './crc32c.ts';

/** Names of enum DBState, in its order. */
const states = [
  'starting up',
  'shut down',
  'shut down in recovery',
  'shutting down',
  'in crash recovery',
  'in archive recovery',
  'in production',
] as const;
const walLevels = ['minimal', 'replica', 'logical'] as const;

/** What a cluster is doing or was doing last. */
export type ClusterState = (typeof states)[number];

/** How much the WAL holds. */
export type WalLevel = (typeof walLevels)[number];

/** What pg_control says; JSON-safe. LSNs that are not set are undefined. */
export interface ControlData {
  readonly pgControlVersion: number;
  readonly catalogVersion: number;
  /** Decimal: a 64-bit number does not fit in JavaScript's. */
  readonly systemIdentifier: string;
  readonly state: ClusterState;
  /** When pg_control was written last. */
  readonly time: Instant;
  readonly checkpointLsn: string;
  readonly redoLsn: string;
  readonly timeline: TimelineId;
  readonly previousTimeline: TimelineId;
  readonly checkpointTime: Instant;
  readonly minRecoveryPoint: string | undefined;
  readonly minRecoveryPointTimeline: TimelineId | undefined;
  readonly backupStartPoint: string | undefined;
  readonly backupEndRequired: boolean;
  readonly walLevel: WalLevel;
  readonly maxConnections: number;
  readonly maxWorkerProcesses: number;
  readonly maxWalSenders: number;
  readonly maxPreparedTransactions: number;
  readonly maxLocksPerTransaction: number;
  readonly trackCommitTimestamp: boolean;
  readonly blockBytes: number;
  /** Pages of one file of a relation. */
  readonly segmentBlocks: number;
  readonly walSegmentBytes: number;
  /** 0: data checksums are off. */
  readonly dataChecksumVersion: number;
}

/** Where the CRC of all bytes before it lies: 18 put a flag and padding before it. */
const crcOffsets: Readonly<Record<number, number>> = { 1300: 288, 1700: 288, 1800: 292 };

/** PostgreSQL writes the file in place, so a reader beside a running server may meet half a write (src/common/controldata_utils.c). */
const tornReadRetries = 10;
const tornReadPauseMs = 10;

/**
 * Reads and checks a data directory's control file; the server may be running or stopped.
 * @throws WalkbackError INVALID_REQUEST when it is no data directory or of an unknown version, DATA_DIRECTORY_DAMAGED when the checksum is wrong
 */
export async function readControlData(dataDirectory: string): Promise<ControlData> {
  const path = join(dataDirectory, 'global', 'pg_control');
  for (let retry = 0; ; retry += 1) {
    const bytes = await readControlFile(path);
    if (retry === tornReadRetries || checksumFits(bytes)) return decodeControlData(bytes, path);
    await delay(tornReadPauseMs);
  }
}

/**
 * Takes the bytes of a control file apart.
 * @param path only for the message
 * @throws WalkbackError as readControlData
 */
function decodeControlData(bytes: Buffer, path: string): ControlData {
  assertReadable(bytes, path);
  return {
    pgControlVersion: bytes.readUInt32LE(8),
    catalogVersion: bytes.readUInt32LE(12),
    systemIdentifier: String(bytes.readBigUInt64LE(0)),
    state: named(states, bytes.readUInt32LE(16), path),
    time: secondsAt(bytes, 24),
    ...checkpointAt(bytes),
    ...recoveryAt(bytes),
    walLevel: named(walLevels, bytes.readUInt32LE(172), path),
    maxConnections: bytes.readInt32LE(180),
    maxWorkerProcesses: bytes.readInt32LE(184),
    maxWalSenders: bytes.readInt32LE(188),
    maxPreparedTransactions: bytes.readInt32LE(192),
    maxLocksPerTransaction: bytes.readInt32LE(196),
    trackCommitTimestamp: bytes.readUInt8(200) !== 0,
    blockBytes: bytes.readUInt32LE(216),
    segmentBlocks: bytes.readUInt32LE(220),
    walSegmentBytes: bytes.readUInt32LE(228),
    dataChecksumVersion: bytes.readUInt32LE(252),
  };
}

/** The location of the latest checkpoint, then the copy of its record (struct CheckPoint, from byte 40). */
function checkpointAt(bytes: Buffer) {
  return {
    checkpointLsn: lsnAt(bytes, 32),
    redoLsn: lsnAt(bytes, 40),
    timeline: bytes.readUInt32LE(48),
    previousTimeline: bytes.readUInt32LE(52),
    checkpointTime: secondsAt(bytes, 104),
  };
}

function recoveryAt(bytes: Buffer) {
  const minRecoveryPoint = setLsnAt(bytes, 136);
  return {
    minRecoveryPoint,
    minRecoveryPointTimeline: minRecoveryPoint === undefined ? undefined : bytes.readUInt32LE(144),
    backupStartPoint: setLsnAt(bytes, 152),
    backupEndRequired: bytes.readUInt8(168) !== 0,
  };
}

async function readControlFile(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new WalkbackError('INVALID_REQUEST', `${path} cannot be read.`, {
      hint: 'Name a PostgreSQL data directory that this user owns.',
      cause,
    });
  }
}

function checksumFits(bytes: Buffer): boolean {
  const crcOffset = crcOffsetOf(bytes);
  return crcOffset !== undefined && crc32c(bytes.subarray(0, crcOffset)) === bytes.readUInt32LE(crcOffset);
}

function crcOffsetOf(bytes: Buffer): number | undefined {
  const offset = bytes.length < 12 ? undefined : crcOffsets[bytes.readUInt32LE(8)];
  return offset === undefined || bytes.length < offset + 4 ? undefined : offset;
}

function assertReadable(bytes: Buffer, path: string): void {
  if (checksumFits(bytes)) return;
  if (crcOffsetOf(bytes) === undefined && bytes.length >= 512) {
    const version = bytes.readUInt32LE(8);
    throw new WalkbackError(
      'INVALID_REQUEST',
      `${path} has pg_control_version ${version}; known are ${Object.keys(crcOffsets).join(', ')}.`,
      {
        hint: 'PostgreSQL 14 to 18 on a little-endian machine are supported.',
        facts: { version },
      },
    );
  }
  throw damaged(path, `its checksum is wrong (${bytes.length} bytes)`);
}

function named<Name extends string>(names: readonly Name[], index: number, path: string): Name {
  const name = names[index];
  if (name === undefined) throw damaged(path, `it holds the unknown value ${index}`);
  return name;
}

function damaged(path: string, why: string): WalkbackError {
  return new WalkbackError('DATA_DIRECTORY_DAMAGED', `${path} is damaged: ${why}.`, { facts: { path } });
}

function lsnAt(bytes: Buffer, offset: number): string {
  return formatLsn(lsn(bytes.readBigUInt64LE(offset)));
}

function setLsnAt(bytes: Buffer, offset: number): string | undefined {
  return bytes.readBigUInt64LE(offset) === 0n ? undefined : lsnAt(bytes, offset);
}

function secondsAt(bytes: Buffer, offset: number): Instant {
  return instantOf(new Date(Number(bytes.readBigInt64LE(offset)) * 1000));
}
