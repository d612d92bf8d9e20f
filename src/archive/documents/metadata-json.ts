/** metadata.json of a base backup (wal-g: backup_sentinel_dto.go, ExtendedMetadataDto). */
import { type Lsn, lsn } from '../../domain/lsn.ts';
import { JsonFields, parseExactJson, stringifyExactJson } from './exact-json.ts';

/** WAL-G's constant; no reader uses it. */
export const dateFormat = '%Y-%m-%dT%H:%M:%S.%fZ';

export interface BackupMetadata {
  /** RFC 3339, by the source's clock. */
  readonly startTime: string;
  readonly finishTime: string;
  readonly hostname: string;
  readonly dataDirectory: string;
  /** server_version_num. */
  readonly pgVersion: number;
  readonly startLsn: Lsn;
  readonly finishLsn: Lsn | undefined;
  readonly isPermanent: boolean;
  readonly systemIdentifier: bigint | undefined;
  readonly uncompressedBytes: number;
  readonly compressedBytes: number;
}

export function stringifyMetadata(metadata: BackupMetadata): string {
  return stringifyExactJson({
    start_time: metadata.startTime,
    finish_time: metadata.finishTime,
    date_fmt: dateFormat,
    hostname: metadata.hostname,
    data_dir: metadata.dataDirectory,
    pg_version: metadata.pgVersion,
    start_lsn: metadata.startLsn,
    finish_lsn: metadata.finishLsn ?? null,
    is_permanent: metadata.isPermanent,
    system_identifier: metadata.systemIdentifier ?? null,
    uncompressed_size: metadata.uncompressedBytes,
    compressed_size: metadata.compressedBytes,
  });
}

/** @throws SyntaxError when it is not JSON or a member is missing or of another type */
export function parseMetadata(text: string): BackupMetadata {
  const fields = new JsonFields(parseExactJson(text), 'metadata.json');
  const finishLsn = fields.bigint('finish_lsn');
  return {
    startTime: fields.required('start_time', (all, name) => all.string(name)),
    finishTime: fields.required('finish_time', (all, name) => all.string(name)),
    hostname: fields.string('hostname') ?? '',
    dataDirectory: fields.string('data_dir') ?? '',
    pgVersion: fields.required('pg_version', (all, name) => all.integer(name)),
    startLsn: lsn(fields.required('start_lsn', (all, name) => all.bigint(name))),
    finishLsn: finishLsn === undefined ? undefined : lsn(finishLsn),
    isPermanent: fields.boolean('is_permanent') ?? false,
    systemIdentifier: fields.bigint('system_identifier'),
    uncompressedBytes: fields.integer('uncompressed_size') ?? 0,
    compressedBytes: fields.integer('compressed_size') ?? 0,
  };
}
