/** Takes base backups of a test cluster as the agent does, without Temporal; and restores them with PostgreSQL and its programs. */
import { hostname } from 'node:os';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { completeBaseBackup } from '../../../src/archive/base-backup-completion.ts';
import { uploadBaseBackup, type UploadBaseBackupOptions, type UploadedBaseBackup } from '../../../src/archive/base-backup-push.ts';
import type { ChangedBlocks } from '../../../src/archive/push/changed-blocks.ts';
import { chooseParent } from '../../../src/archive/push/parent-backup.ts';
import { formatLsn } from '../../../src/domain/lsn.ts';
import { type BackupSession, startBackupSession } from '../../../src/postgres/backup-session.ts';
import { readControlData } from '../../../src/postgres/control-data.ts';
import type { ConnectOptions } from '../../../src/postgres/connection.ts';
import type { PostgresInstallation } from '../../../src/postgres/installations.ts';
import type { ObjectStore } from '../../../src/storage/object-store.ts';

/** Where a cluster is, for a backup of it. */
export interface Source {
  readonly connectOptions: ConnectOptions;
  readonly dataDirectory: string;
}

/** What an upload needs, of a session that has begun. */
export async function uploadOptionsOf(source: Source, store: ObjectStore, session: BackupSession): Promise<UploadBaseBackupOptions> {
  const control = await readControlData(source.dataDirectory);
  return {
    store,
    dataDirectory: source.dataDirectory,
    compression: 'zstd',
    partBytes: 4 * 1024 * 1024,
    pages: { blockBytes: control.blockBytes, segmentBlocks: control.segmentBlocks, hasChecksums: control.dataChecksumVersion !== 0 },
    start: {
      name: `base_${session.startSegment}`,
      timeline: session.timeline,
      startLsn: session.startLsn,
      startTime: session.startTime,
      pgVersion: session.facts.serverVersionNum,
      systemIdentifier: session.facts.systemIdentifier,
      hostname: hostname(),
      walSegmentBytes: session.facts.walSegmentBytes,
    },
    stop: () => session.stop(),
  };
}

/** An incremental backup on the newest one; it exists when this resolves. Fails when it would have to be a full one. */
export async function takeIncremental(
  source: Source,
  store: ObjectStore,
  changedSince?: (session: BackupSession, sinceLsn: string) => Promise<ChangedBlocks | undefined>,
): Promise<UploadedBaseBackup> {
  await using session = await startBackupSession(source.connectOptions, { label: 'test', fast: true });
  const options = await uploadOptionsOf(source, store, session);
  const signal = new AbortController().signal;
  const choice = await chooseParent(store, { start: options.start, maximumChain: 6, signal });
  if ('fullBecause' in choice) throw new Error(choice.fullBecause);
  const { parent, name } = choice;
  const changed = await changedSince?.(session, formatLsn(parent.origin.startLsn));
  const start = { ...options.start, name };
  const uploaded = await uploadBaseBackup({ ...options, start, parent, ...(changed === undefined ? {} : { changed }) });
  await completeBaseBackup(store, uploaded);
  return uploaded;
}

/** A whole backup; it exists when this resolves. */
export async function takeBackup(
  source: Source,
  store: ObjectStore,
  options: Partial<UploadBaseBackupOptions> = {},
): Promise<UploadedBaseBackup> {
  await using session = await startBackupSession(source.connectOptions, { label: 'test', fast: true });
  const uploaded = await uploadBaseBackup({ ...(await uploadOptionsOf(source, store, session)), ...options });
  await completeBaseBackup(store, uploaded);
  return uploaded;
}

/** pg_verifybackup of an installation, or of the distribution for a manifest of version 1; undefined where there is none. */
export function verifierOf(installation: PostgresInstallation): string | undefined {
  const own = join(installation.binDirectory, 'pg_verifybackup');
  return existsSync(own) ? own : undefined;
}

/** Throws what pg_verifybackup, where there is one, does not like about the directory. */
export async function verifyBackup(program: string | undefined, dataDirectory: string): Promise<void> {
  if (program !== undefined) await execa(program, ['-n', dataDirectory], { env: { LC_ALL: 'C' } });
}
