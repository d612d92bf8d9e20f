/**
 * The configuration under which a restored directory recovers: nothing of the source's takes part, nobody but us gets in, nothing gets out
 * (design.md, section 4, rule 4). Files are written whole: the source's postgresql.auto.conf would otherwise override us (postgres-recovery.md, M23).
 */
import { chmod, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { toPostgresTimestamp } from '../domain/instant.ts';
import { type RecoveryTarget, type TargetTimeline, xidWithinEpoch } from '../domain/recovery-target.ts';
import { quoteHbaName, renderConfiguration, type Settings } from './configuration-file.ts';
import { type ControlData, readControlData } from './control-data.ts';
import { inspectMachine } from './machine.ts';
import { makeDirectoryDurably, privateDirectoryMode, syncDirectory, writeFileDurably } from '../files/durable-file.ts';
import { restoreDirectoryName, restoreDirectoryOf } from './restore-marker.ts';
import { keepSourceConfiguration } from './source-configuration.ts';

/** How to recover. */
export interface RecoverySettings {
  /** Major version of the server. */
  readonly major: number;
  readonly port: number;
  /** Private directory, made with mode 0700: who can enter it is trusted, as peer would. Its path has at most 90 bytes. */
  readonly socketDirectory: string;
  /** As ps shows it. */
  readonly clusterName: string;
  readonly restoreCommand: string;
  /** `latest` sets no target: replay goes to the end of the WAL that restore_command gives. */
  readonly target: RecoveryTarget;
  readonly timeline: TargetTimeline;
  readonly atTarget: 'promote' | 'pause';
  /** Superuser that may log in without a password over the private socket. */
  readonly adminRole: string;
  /** The temporary superuser of the role swap, which may too. */
  readonly temporaryRole: string;
  /** Which start of the directory this is, from 1: each has a log of its own. */
  readonly startNumber: number;
  /** Settings that turned out to have been raised on the source after the backup (RecoveryFatal insufficient-settings). Default: none. */
  readonly minimums?: Readonly<Record<string, number>>;
}

/**
 * Holds archiving until the child has an archive of its own: PostgreSQL keeps its first segments and its history file meanwhile (M22; manual,
 * section 20.5.3, on the empty string). A command that fails holds too, but a shutdown tries it three times, a second apart.
 */
const holdingArchiveCommand = '';

const logDirectory = `${restoreDirectoryName}/log`;
const mebibyte = 1024 * 1024;
/** PostgreSQL's own default: less is never better. */
const sharedBuffersMinimumMib = 128;
/** More than replay of a common day's WAL has pages for. */
const sharedBuffersMaximumMib = 1024;
/** The page cache, other servers of the host and other restores want some too. */
const sharedBuffersShareOfFree = 0.25;

/** shared_buffers while recovering: replay keeps more of the pages that it changes again (docs/decisions/0009-settings-while-recovering.md). */
export function recoveryBuffersMib(freeMemoryBytes: number): number {
  const share = Math.floor((freeMemoryBytes * sharedBuffersShareOfFree) / mebibyte);
  return Math.min(sharedBuffersMaximumMib, Math.max(sharedBuffersMinimumMib, share));
}

/** Where a start's records go: jsonlog, before 15 csvlog. */
export function recoveryLogFile(dataDirectory: string, start: { readonly major: number; readonly startNumber: number }): string {
  return join(dataDirectory, logDirectory, `start-${start.startNumber}.${start.major >= 15 ? 'json' : 'csv'}`);
}

/** Where a start's first words go, before the server's own logging begins: for `pg_ctl -l`. */
export function launchLogFile(dataDirectory: string, startNumber: number): string {
  return join(dataDirectory, logDirectory, `launch-${startNumber}.log`);
}

/**
 * Writes the whole configuration and recovery.signal; the source's files are kept aside first. Safe to repeat. To drop the target, call it
 * again with the target `latest`.
 * @throws WalkbackError INVALID_REQUEST, DATA_DIRECTORY_DAMAGED from reading pg_control
 */
export async function configureRecovery(options: { readonly dataDirectory: string; readonly settings: RecoverySettings }): Promise<void> {
  const { dataDirectory, settings } = options;
  const control = await readControlData(dataDirectory);
  const { freeMemoryBytes } = await inspectMachine();
  await keepSourceConfiguration(dataDirectory);
  await makePrivateDirectory(settings.socketDirectory);
  await makeDirectoryDurably(join(restoreDirectoryOf(dataDirectory), 'log'));
  const comment = `Recovery of "${settings.clusterName.replaceAll(/\s/g, ' ')}": isolated, and replaced when it is open`;
  // The signal stands first: without it a start would take the directory for a crashed server and never ask for the archive.
  await writeFileDurably(join(dataDirectory, 'recovery.signal'), '');
  await rm(join(dataDirectory, 'standby.signal'), { force: true });
  await writeFileDurably(join(dataDirectory, 'pg_hba.conf'), renderRecoveryHba(settings));
  await writeFileDurably(join(dataDirectory, 'pg_ident.conf'), '# No maps while recovering.\n');
  await writeFileDurably(join(dataDirectory, 'postgresql.auto.conf'), emptyAutoConfiguration);
  await writeFileDurably(
    join(dataDirectory, 'postgresql.conf'),
    renderConfiguration(comment, recoverySettings(settings, control, recoveryBuffersMib(freeMemoryBytes))),
  );
}

/** What postgresql.auto.conf holds when everything is in postgresql.conf. */
export const emptyAutoConfiguration = '# Empty on purpose: walkback keeps its settings in postgresql.conf. ALTER SYSTEM writes here.\n';

/** Makes a directory that only its owner may enter, also when it is there already. */
export async function makePrivateDirectory(path: string): Promise<void> {
  await makeDirectoryDurably(path);
  await chmod(path, privateDirectoryMode);
  await syncDirectory(path);
}

/** Settings that must not be lower than they were on the source (manual, section 27.4.3 "Administrator's Overview"), as pg_control has them. */
export function settingsOfControl(control: ControlData): Settings {
  return new Map([
    ['wal_level', control.walLevel === 'minimal' ? 'replica' : control.walLevel],
    ['max_connections', String(control.maxConnections)],
    ['max_worker_processes', String(control.maxWorkerProcesses)],
    ['max_wal_senders', String(control.maxWalSenders)],
    ['max_prepared_transactions', String(control.maxPreparedTransactions)],
    ['max_locks_per_transaction', String(control.maxLocksPerTransaction)],
  ]);
}

/** Every setting during recovery. */
function recoverySettings(settings: RecoverySettings, control: ControlData, sharedBuffersMib: number): Settings {
  return new Map([
    ['cluster_name', clusterNameOf(settings.clusterName)],
    ['listen_addresses', ''],
    ['unix_socket_directories', settings.socketDirectory],
    ['unix_socket_permissions', '0700'],
    ['port', String(settings.port)],
    ['ssl', 'off'],
    ...settingsOfControl(control),
    ...raised(settings.minimums ?? {}, control),
    ['shared_buffers', `${sharedBuffersMib}MB`],
    ['huge_pages', 'try'],
    ['shared_preload_libraries', ''],
    ['max_logical_replication_workers', '0'],
    ['autovacuum', 'off'],
    ['hot_standby', 'on'],
    // PostgreSQL's own way back from a crash of one of its processes goes past the target when it was about to leave recovery (promotion.ts).
    ['restart_after_crash', 'off'],
    // A restartpoint writes what replay will change again; after a crash no more than this is replayed once more.
    ['max_wal_size', '4GB'],
    // Checkpoints are not spread out: what the one behind the promotion leaves to write, the restart that opens the cluster has to wait for.
    ['checkpoint_completion_target', '0'],
    ['archive_mode', 'on'],
    ['archive_command', holdingArchiveCommand],
    ['restore_command', settings.restoreCommand],
    ['recovery_target_timeline', String(settings.timeline)],
    ...targetSettings(settings),
    ...logSettings(settings),
  ]);
}

/** PostgreSQL takes at most 63 printable ASCII characters and replaces others itself; this only keeps the file plain. */
export function clusterNameOf(name: string): string {
  return name.replaceAll(/[^\u0020-\u007e]/g, '?').slice(0, 63);
}

function targetSettings({ target, atTarget }: RecoverySettings): [string, string][] {
  const setting = settingOfTarget(target);
  if (setting === undefined) return [];
  const inclusive: [string, string][] =
    'inclusive' in target ? [['recovery_target_inclusive', target.inclusive === false ? 'off' : 'on']] : [];
  return [setting, ...inclusive, ['recovery_target_action', atTarget]];
}

function settingOfTarget(target: RecoveryTarget): [string, string] | undefined {
  switch (target.kind) {
    case 'time':
      return ['recovery_target_time', toPostgresTimestamp(target.time)];
    case 'lsn':
      return ['recovery_target_lsn', target.lsn];
    case 'xid':
      return ['recovery_target_xid', xidWithinEpoch(target.xid)];
    case 'name':
      return ['recovery_target_name', target.name];
    case 'immediate':
      return ['recovery_target', 'immediate'];
    case 'latest':
      return undefined;
  }
}

function logSettings(settings: RecoverySettings): [string, string][] {
  return [
    ['logging_collector', 'on'],
    ['log_destination', settings.major >= 15 ? 'jsonlog' : 'csvlog'],
    ['log_directory', logDirectory],
    ['log_filename', `start-${settings.startNumber}.log`],
    ['log_file_mode', '0600'],
    ['log_rotation_age', '0'],
    ['log_rotation_size', '0'],
    ['log_truncate_on_rotation', 'off'],
    ['log_min_messages', 'info'],
    ['log_timezone', 'UTC'],
    // The times inside messages ("time 2026-11-22 11:57:00+00") follow TimeZone, not log_timezone.
    ['timezone', 'UTC'],
    ['datestyle', 'iso, ymd'],
    ['lc_messages', 'C'],
  ];
}

function raised(minimums: Readonly<Record<string, number>>, control: ControlData): [string, string][] {
  const known = settingsOfControl(control);
  return Object.entries(minimums).map(([name, needed]) => [name, String(Math.max(needed, Number(known.get(name) ?? 0)))]);
}

/** Only the unix socket, in a directory of mode 0700. */
function renderRecoveryHba(settings: RecoverySettings): string {
  return [
    '# Recovery: no network; the socket directory is open to its owner alone.',
    `local all ${quoteHbaName(settings.adminRole)} trust`,
    `local all ${quoteHbaName(settings.temporaryRole)} trust`,
    'local all all scram-sha-256',
    '',
  ].join('\n');
}
