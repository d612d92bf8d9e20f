/** The sentinel of a base backup, `<name>_backup_stop_sentinel.json` (wal-g: backup_sentinel_dto.go, BackupSentinelDtoV2). */
import { type Lsn, lsn } from '../domain/lsn.ts';
import { isWalSegmentName } from '../domain/wal-segment.ts';
import { JsonFields, parseExactJson, stringifyExactJson } from './documents/exact-json.ts';
import { type BackupMetadata, dateFormat } from './documents/metadata-json.ts';
import { parseTablespaceSpec, type TablespaceSpec, tablespaceSpecJson } from './documents/tablespace-spec.ts';

/** What makes a backup a delta. */
export interface DeltaOrigin {
  /** The direct parent's name. */
  readonly from: string;
  /** The full backup at the root of the chain. */
  readonly fullName: string;
  /** The parent's start. */
  readonly startLsn: Lsn;
  readonly stepCount: number;
}

/** What a sentinel says. Old ones say less: absent values are undefined. */
export interface Sentinel {
  readonly startLsn: Lsn | undefined;
  readonly finishLsn: Lsn | undefined;
  readonly pgVersion: number | undefined;
  readonly systemIdentifier: bigint | undefined;
  readonly uncompressedBytes: number;
  readonly compressedBytes: number;
  readonly tablespaces: TablespaceSpec | undefined;
  /** True: there is no files_metadata.json. */
  readonly filesMetadataDisabled: boolean;
  readonly delta: DeltaOrigin | undefined;
  /** WAL-E's: where the backup ended. */
  readonly finish: { readonly segment: string; readonly offsetBytes: number } | undefined;
  /** From version 2 on, as metadata.json says them too: RFC 3339. */
  readonly startTime: string | undefined;
  readonly finishTime: string | undefined;
  readonly hostname: string | undefined;
  readonly dataDirectory: string | undefined;
  readonly isPermanent: boolean | undefined;
  /** Ours: pages whose checksum was wrong when the backup was taken. */
  readonly damagedBlockCount: number | undefined;
  /** Undefined up to WAL-G 1.1, and for WAL-E. From 2 on there is a files_metadata.json unless it is disabled. */
  readonly version: number | undefined;
  /** True up to WAL-G 1.1: the sentinel itself holds what files_metadata.json does later. */
  readonly hasFileList: boolean;
  /** Size of all files of the cluster, also of those that a delta leaves to its parent; undefined where the writer did not say. */
  readonly dataCatalogBytes: number | undefined;
}

/** What only the writer of a sentinel knows. */
interface SentinelExtras {
  readonly tablespaces: TablespaceSpec | undefined;
  readonly filesMetadataDisabled: boolean;
  /** Sum of the sizes of all files, as WAL-G counts it. */
  readonly dataCatalogBytes: number;
  readonly delta?: DeltaOrigin | undefined;
  readonly damagedBlockCount?: number | undefined;
}

/** The sentinel of a backup, version 2. */
export function stringifySentinel(backup: BackupMetadata, extras: SentinelExtras): string {
  return stringifyExactJson({
    LSN: backup.startLsn,
    PgVersion: backup.pgVersion,
    FinishLSN: backup.finishLsn,
    SystemIdentifier: backup.systemIdentifier,
    UncompressedSize: backup.uncompressedBytes,
    CompressedSize: backup.compressedBytes,
    DataCatalogSize: extras.dataCatalogBytes,
    ...(extras.tablespaces === undefined ? {} : { Spec: tablespaceSpecJson(extras.tablespaces) }),
    ...(extras.delta === undefined ? {} : deltaFields(extras.delta)),
    ...(extras.filesMetadataDisabled ? { FilesMetadataDisabled: true } : {}),
    ChkpNum: null,
    Version: 2,
    StartTime: backup.startTime,
    FinishTime: backup.finishTime,
    DateFmt: dateFormat,
    Hostname: backup.hostname,
    DataDir: backup.dataDirectory,
    IsPermanent: backup.isPermanent,
    ...(extras.damagedBlockCount === undefined ? {} : { WalkbackDamagedBlocks: extras.damagedBlockCount }),
  });
}

function deltaFields({ from, fullName, startLsn, stepCount }: DeltaOrigin): object {
  return { DeltaLSN: startLsn, DeltaFrom: from, DeltaFullName: fullName, DeltaCount: stepCount };
}

/** Reads sentinels of every release, WAL-E's included. @throws SyntaxError when it is not JSON or a member has another type */
export function parseSentinel(text: string): Sentinel {
  const fields = new JsonFields(parseExactJson(text), 'the sentinel');
  return {
    startLsn: position(fields, 'LSN'),
    finishLsn: position(fields, 'FinishLSN'),
    pgVersion: fields.integer('PgVersion'),
    systemIdentifier: fields.bigint('SystemIdentifier'),
    uncompressedBytes: fields.integer('UncompressedSize') ?? fields.integer('expanded_size_bytes') ?? 0,
    compressedBytes: fields.integer('CompressedSize') ?? 0,
    tablespaces: parseTablespaceSpec(fields.fields('Spec')),
    filesMetadataDisabled: fields.boolean('FilesMetadataDisabled') ?? false,
    delta: deltaOrigin(fields),
    finish: finishOfWalE(fields),
    startTime: fields.string('StartTime'),
    finishTime: fields.string('FinishTime'),
    hostname: fields.string('Hostname'),
    dataDirectory: fields.string('DataDir'),
    isPermanent: fields.boolean('IsPermanent'),
    damagedBlockCount: fields.integer('WalkbackDamagedBlocks'),
    version: fields.integer('Version'),
    hasFileList: fields.fields('Files') !== undefined,
    dataCatalogBytes: fields.integer('DataCatalogSize'),
  };
}

function position(fields: JsonFields, name: string): Lsn | undefined {
  const value = fields.bigint(name);
  return value === undefined ? undefined : lsn(value);
}

/** The offset is decimal, in eight digits (wal-e: operator/backup.py). */
function finishOfWalE(fields: JsonFields): Sentinel['finish'] {
  const [segment, offset] = [fields.string('wal_segment_backup_stop'), fields.string('wal_segment_offset_backup_stop')];
  if (segment === undefined || offset === undefined) return undefined;
  if (!isWalSegmentName(segment) || !/^\d{1,10}$/.test(offset))
    throw new SyntaxError('the sentinel names no position where the backup ended');
  return { segment, offsetBytes: Number(offset) };
}

/** WAL-G up to 1.1 called DeltaLSN `DeltaFromLSN`. */
function deltaOrigin(fields: JsonFields): DeltaOrigin | undefined {
  const from = fields.string('DeltaFrom');
  if (from === undefined || from === '') return undefined;
  const startLsn = position(fields, 'DeltaLSN') ?? position(fields, 'DeltaFromLSN');
  if (startLsn === undefined) throw new SyntaxError('the sentinel of a delta backup has no "DeltaLSN"');
  return {
    from,
    fullName: fields.required('DeltaFullName', (all, name) => all.string(name)),
    startLsn,
    stepCount: fields.required('DeltaCount', (all, name) => all.integer(name)),
  };
}
