/**
 * What is known of a base backup that has no metadata.json. WAL-G's sentinels of version 2 say it all themselves. Older ones, and WAL-E's, do not
 * say when the backup was taken: PostgreSQL's backup history file does, which is archived with the WAL.
 */
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { type Lsn, lsn } from '../domain/lsn.ts';
import { backupHistoryFileName, defaultWalSegmentBytes, parseWalSegmentName, segmentStart } from '../domain/wal-segment.ts';
import { type ObjectStore, readObject } from '../storage/object-store.ts';
import { type BackupHistory, parseBackupHistory } from './documents/backup-history.ts';
import type { BackupMetadata } from './documents/metadata-json.ts';
import { damaged, signalOption } from './documents/stored-document.ts';
import {
  extendedVersionKey,
  sentinelKey,
  startSegmentOfBackupName,
  tarPartitionsPrefix,
  walEOffsetOfBackupName,
  walKey,
} from './layout.ts';
import type { Sentinel } from './sentinel.ts';
import type { WalArchive } from './wal-archive.ts';

/** Where it is asked for. */
interface BackupSource {
  readonly store: ObjectStore;
  readonly wal: Pick<WalArchive, 'readHeader' | 'read'>;
  readonly signal: AbortSignal | undefined;
}

const versionTextMaximumBytes = 64 * 1024;

/**
 * The facts that metadata.json would hold.
 * @throws WalkbackError OBJECT_DAMAGED when documents contradict each other, ARCHIVE_FORMAT_UNSUPPORTED when nothing says when the backup ended
 */
export async function describeBackup(name: string, sentinel: Sentinel, source: BackupSource): Promise<BackupMetadata> {
  const { startLsn, startTime, finishTime, pgVersion } = sentinel;
  const sizes = { uncompressedBytes: sentinel.uncompressedBytes, compressedBytes: sentinel.compressedBytes };
  const origin = {
    hostname: sentinel.hostname ?? '',
    dataDirectory: sentinel.dataDirectory ?? '',
    isPermanent: sentinel.isPermanent ?? false,
  };
  const { finishLsn, systemIdentifier } = sentinel;
  if (startLsn !== undefined && startTime !== undefined && finishTime !== undefined && pgVersion !== undefined)
    return { ...origin, ...sizes, startLsn, finishLsn, startTime, finishTime, pgVersion, systemIdentifier };
  return { ...origin, ...sizes, ...(await factsOfServer(name, sentinel, source)) };
}

type ServerFacts = Pick<
  BackupMetadata,
  'startLsn' | 'finishLsn' | 'startTime' | 'finishTime' | 'pgVersion' | 'systemIdentifier' | 'compressedBytes'
>;

async function factsOfServer(name: string, sentinel: Sentinel, source: BackupSource): Promise<ServerFacts> {
  const segment = startSegmentOfBackupName(name);
  const header = await source.wal.readHeader(segment, signalOption(source.signal));
  const segmentBytes = header?.segmentBytes ?? defaultWalSegmentBytes;
  const startLsn = sentinel.startLsn ?? startOfWalE(name, segmentBytes);
  const history = await historyOf(name, { startLsn, segmentBytes }, source);
  const pgVersion = sentinel.pgVersion ?? (await walEVersion(name, source)) ?? (header === undefined ? undefined : header.pgMajor * 10_000);
  if (pgVersion === undefined) throw damaged(sentinelKey(name), 'nothing says which version of PostgreSQL the backup is of');
  const identifier = sentinel.systemIdentifier ?? (header === undefined ? undefined : BigInt(header.systemIdentifier));
  return {
    startLsn,
    finishLsn: sentinel.finishLsn ?? finishOfWalE(sentinel, segmentBytes) ?? history.finishLsn,
    startTime: history.startTime,
    finishTime: history.finishTime,
    pgVersion,
    systemIdentifier: identifier,
    compressedBytes: sentinel.compressedBytes || (await storedBytes(name, source)),
  };
}

/** WAL-E's sentinel has no start: the name of the backup has it. */
function startOfWalE(name: string, segmentBytes: number): Lsn {
  const offset = walEOffsetOfBackupName(name);
  if (offset === undefined) throw damaged(sentinelKey(name), 'it names no start position');
  return positionOf(startSegmentOfBackupName(name), offset, segmentBytes);
}

function finishOfWalE({ finish }: Sentinel, segmentBytes: number): Lsn | undefined {
  return finish === undefined ? undefined : positionOf(finish.segment, finish.offsetBytes, segmentBytes);
}

function positionOf(segment: string, offsetBytes: number, segmentBytes: number): Lsn {
  return lsn(segmentStart(parseWalSegmentName(segment, segmentBytes).number, segmentBytes) + BigInt(offsetBytes));
}

async function historyOf(
  name: string,
  start: { readonly startLsn: Lsn; readonly segmentBytes: number },
  source: BackupSource,
): Promise<BackupHistory & { readonly finishTime: NonNullable<BackupHistory['finishTime']> }> {
  const fileName = backupHistoryFileName(startSegmentOfBackupName(name), Number(start.startLsn % BigInt(start.segmentBytes)));
  const text = (await source.wal.read(fileName, signalOption(source.signal)))?.toString('utf8');
  if (text === undefined) throw withoutHistory(name, fileName);
  const history = historyIn(text, fileName);
  if (history.finishTime === undefined) throw damaged(walKey(fileName, ''), 'it does not say when the backup ended');
  if (history.startLsn !== start.startLsn) throw damaged(walKey(fileName, ''), `the backup in it does not start where ${name} starts`);
  return { ...history, finishTime: history.finishTime };
}

function historyIn(text: string, fileName: string): BackupHistory {
  try {
    return parseBackupHistory(text);
  } catch (error) {
    throw damaged(walKey(fileName, ''), messageOf(error), error);
  }
}

/** `PostgreSQL 14.23 on x86_64…`, `PostgreSQL 15beta1`. */
async function walEVersion(name: string, { store, signal }: BackupSource): Promise<number | undefined> {
  const bytes = await readObject(store, extendedVersionKey(name), { maximumBytes: versionTextMaximumBytes, ...signalOption(signal) });
  const [, major, minor] = /^PostgreSQL (\d+)(?:\.(\d+))?/.exec(bytes?.toString('utf8') ?? '') ?? [];
  return major === undefined ? undefined : Number(major) * 10_000 + Number(minor ?? 0);
}

async function storedBytes(name: string, { store, signal }: BackupSource): Promise<number> {
  let sizeBytes = 0;
  for await (const info of store.list(tarPartitionsPrefix(name), { shallow: true, ...signalOption(signal) })) sizeBytes += info.sizeBytes;
  return sizeBytes;
}

/** The store's own times say when an object came there, which is another matter: a copied archive has them all anew. */
function withoutHistory(name: string, fileName: string): WalkbackError {
  return new WalkbackError(
    'ARCHIVE_FORMAT_UNSUPPORTED',
    `Nothing says when ${name} ended: ${walKey(fileName, '')} is not in the archive.`,
    {
      facts: { backup: name, missing: fileName },
      hint: `Bring the file ${fileName} into the archive; PostgreSQL wrote it into pg_wal when the backup ended.`,
    },
  );
}
