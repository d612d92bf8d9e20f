/** Every way to spoil a recovery that a machine without special rights can bring about, and the code that it must get. */
import { spawn } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { RecoveryFatalCode } from '../../../src/domain/recovery-fatals.ts';
import { type RecordingSource, type SpoilableCopy, type SpoilingFacts, until } from './source.ts';

/** One way. */
export interface Scenario {
  readonly code: RecoveryFatalCode;
  readonly spoil?: (copy: SpoilableCopy, facts: SpoilingFacts) => Promise<void>;
  /** While the server runs. */
  readonly meanwhile?: (copy: SpoilableCopy, postmaster: number) => Promise<void>;
  /** At the source, before: it changes what later scenarios meet. */
  readonly before?: (source: RecordingSource) => Promise<() => Promise<void>>;
  /** By another major's programs. */
  readonly otherMajor?: boolean;
  /** The majors that it can be recorded on. Default: all. */
  readonly majors?: readonly number[];
  /** It leaves WAL behind on which every later recovery ends, so that it needs a source of its own. Default false. */
  readonly hasOwnSource?: boolean;
}

const appending = (lines: string) => async (copy: SpoilableCopy) => copy.append(lines);
const bringing = (command: (facts: SpoilingFacts) => string) => async (copy: SpoilableCopy, facts: SpoilingFacts) =>
  copy.configure({ restoreCommand: command(facts) });
/** A file of the data directory that is not what it was. */
const withFile = (change: (path: string) => Promise<unknown>, name: string) => async (copy: SpoilableCopy) =>
  void (await change(join(copy.dataDirectory, name)));
/** A command that brings the history file of timeline 2 from nowhere. */
const withHistory = (content: string) => (facts: SpoilingFacts) =>
  `if test %f = 00000002.history; then printf '${content}' > "%p"; else ${facts.bring}; fi`;
/** Brings all but one segment, and waits there until it is killed. */
const waitingAtTheEnd = bringing(({ bring }) => `${bring} || { touch waiting; sleep 5; exit 1; }`);

/** By name, in the order in which they are recorded: the last ones change the source. */
export const scenarios: Readonly<Record<string, Scenario>> = {
  'target-behind-the-last-commit': {
    code: 'ended-before-target',
    spoil: async (copy) => copy.configure({ target: { kind: 'name', name: 'nowhere' } }),
  },
  'max-connections-too-low': { code: 'insufficient-settings', spoil: appending('max_connections = 10') },
  'restore-command-exits-130': { code: 'restore-command-failed', spoil: bringing(() => 'exit 130') },
  'restore-command-not-there': { code: 'restore-command-failed', spoil: bringing(() => '/nowhere/restore %f %p') },
  'no-wal-at-all': { code: 'checkpoint-record-missing', spoil: bringing(() => 'exit 1') },
  'redo-segment-missing': {
    code: 'redo-location-missing',
    spoil: bringing(({ bring, redoSegment }) => `test %f != ${redoSegment} && ${bring}`),
  },
  'wal-ends-within-the-backup': {
    code: 'wal-ends-before-consistency',
    spoil: bringing(({ bring, checkpointSegment }) => `expr %f "<=" ${checkpointSegment} > /dev/null && ${bring}`),
  },
  'target-within-the-backup': {
    code: 'target-before-consistency',
    spoil: async (copy, { redoLsn }) => copy.configure({ target: { kind: 'lsn', lsn: redoLsn } }),
  },
  'timeline-of-another-branch': {
    code: 'wrong-timeline',
    spoil: async (copy, facts) => copy.configure({ timeline: 2, restoreCommand: withHistory('1\\t0/100\\tx\\n')(facts) }),
  },
  'timeline-without-history': { code: 'timeline-missing', spoil: async (copy) => copy.configure({ timeline: 9 }) },
  'history-file-damaged': {
    code: 'history-damaged',
    spoil: async (copy, facts) => copy.configure({ timeline: 2, restoreCommand: withHistory('no history\\n')(facts) }),
  },
  'another-major': { code: 'incompatible-major', otherMajor: true },
  'preload-library-missing': { code: 'library-missing', spoil: appending("shared_preload_libraries = 'nowhere'") },
  'bad-configuration-line': { code: 'configuration-invalid', spoil: appending('this is = no setting') },
  'unknown-setting': { code: 'configuration-invalid', spoil: appending('no_such_setting = 1') },
  'bad-hba-line': { code: 'configuration-invalid', spoil: withFile((path) => writeFile(path, 'let everybody in\n'), 'pg_hba.conf') },
  'two-targets': {
    code: 'configuration-invalid',
    spoil: async (copy, { redoLsn }) => {
      await copy.configure({ target: { kind: 'lsn', lsn: redoLsn } });
      await copy.append("recovery_target = 'immediate'");
    },
  },
  'restore-command-empty': { code: 'configuration-invalid', spoil: appending("restore_command = ''") },
  'port-taken': { code: 'port-in-use', spoil: takePort },
  'socket-taken': {
    code: 'port-in-use',
    spoil: (copy) => lockFile(join(copy.directory, 's', `.s.PGSQL.${copy.port}.lock`), copy),
  },
  'another-server-on-the-directory': {
    code: 'already-running',
    spoil: (copy) => lockFile(join(copy.dataDirectory, 'postmaster.pid'), copy),
  },
  'directory-open-to-others': { code: 'permission-denied', spoil: async (copy) => chmod(copy.dataDirectory, 0o777) },
  'unreadable-file': { code: 'permission-denied', spoil: withFile((path) => chmod(path, 0), 'backup_label') },
  'control-file-damaged': { code: 'control-file-damaged', spoil: withFile((path) => flipByte(path, 100), 'global/pg_control') },
  'control-file-missing': { code: 'control-file-missing', spoil: withFile((path) => rm(path), 'global/pg_control') },
  'pg-version-missing': { code: 'directory-incomplete', spoil: withFile((path) => rm(path), 'PG_VERSION') },
  'pg-wal-missing': { code: 'directory-incomplete', spoil: withFile((path) => rm(path, { recursive: true }), 'pg_wal') },
  'backup-label-damaged': { code: 'label-damaged', spoil: withFile((path) => writeFile(path, 'no label\n'), 'backup_label') },
  'memory-refused': { code: 'out-of-memory', spoil: appending("shared_buffers = '7TB'\nhuge_pages = off") },
  'disk-full': {
    code: 'disk-full',
    // Every write to it fails as one to a full disk does.
    spoil: async (copy, { newTable }) => symlink('/dev/full', join(copy.dataDirectory, newTable)),
  },
  'relation-missing': {
    code: 'invalid-pages',
    spoil: async (copy, { oldTable }) => rm(join(copy.dataDirectory, oldTable)),
  },
  'page-damaged': {
    code: 'data-damaged',
    spoil: async (copy, { oldTable }) => flipByte(join(copy.dataDirectory, oldTable), 13),
  },
  'killed-for-memory': { code: 'killed', spoil: waitingAtTheEnd, meanwhile: (copy, pid) => killStartup(copy, pid, 'SIGKILL') },
  crashed: { code: 'crashed', spoil: waitingAtTheEnd, meanwhile: (copy, pid) => killStartup(copy, pid, 'SIGSEGV') },
  'startup-process-ended': { code: 'stopped', spoil: waitingAtTheEnd, meanwhile: (copy, pid) => killStartup(copy, pid, 'SIGTERM') },
  'tablespace-folder-not-empty': { code: 'tablespace-bad', spoil: tablespaceFolder },
  'tablespace-directory-missing': { code: 'tablespace-bad', before: makeTablespace },
  'resource-manager-not-preloaded': {
    code: 'resource-manager-missing',
    // Custom resource managers exist from 15 on; the headers of other majors are in no package of Debian 12.
    majors: [15],
    hasOwnSource: true,
    before: async (source) => {
      await source.writeCustomWal();
      return async () => undefined;
    },
  },
  'wal-level-minimal': {
    code: 'wal-level-minimal',
    before: async (source) => {
      await source.writeMinimalWal();
      return async () => undefined;
    },
  },
};

async function flipByte(path: string, offset: number): Promise<void> {
  const bytes = await readFile(path);
  bytes.writeUInt8(bytes.readUInt8(offset) ^ 0xff, offset);
  await writeFile(path, bytes);
}

/** Held until the recorder ends. */
async function takePort(copy: SpoilableCopy): Promise<void> {
  const server = createServer().unref();
  await new Promise<void>((resolve) => void server.listen(copy.port, '127.0.0.1', resolve));
  await copy.append("listen_addresses = '127.0.0.1'");
}

/** A lock of a process that lives and is no parent of the server, which would not count. */
async function lockFile(path: string, copy: SpoilableCopy): Promise<void> {
  const holder = spawn('sleep', ['20'], { stdio: 'ignore' });
  holder.unref();
  await writeFile(path, `${holder.pid}\n${copy.dataDirectory}\n0\n${copy.port}\n${copy.directory}/s\n`);
}

async function tablespaceFolder(copy: SpoilableCopy): Promise<void> {
  await writeFile(join(copy.dataDirectory, 'tablespace_map'), `16384 ${copy.directory}/tablespace\n`);
  const folder = join(copy.dataDirectory, 'pg_tblspc', '16384');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'file'), 'in the way');
}

/** It is there at the source only. */
async function makeTablespace(source: RecordingSource): Promise<() => Promise<void>> {
  const location = join(source.directory, 'tablespace');
  await mkdir(location);
  await source.query(`CREATE TABLESPACE elsewhere LOCATION '${location}'`);
  await source.flush();
  await rm(location, { recursive: true });
  return async () => {
    await mkdir(location);
  };
}

async function killStartup(copy: SpoilableCopy, postmaster: number, signal: NodeJS.Signals): Promise<void> {
  await until(async () => (await readdir(copy.dataDirectory)).includes('waiting'));
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const [command, status] = await Promise.all([textOf(`/proc/${name}/cmdline`), textOf(`/proc/${name}/status`)]);
    if (command.includes('startup') && status.includes(`PPid:\t${postmaster}\n`)) process.kill(Number(name), signal);
  }
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    // The process has ended meanwhile.
    return '';
  }
}
