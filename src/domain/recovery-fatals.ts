/**
 * Why PostgreSQL gave up during start or recovery, told by its own words (src/backend/access/transam/xlogrecovery.c, xlog.c and
 * src/backend/postmaster/postmaster.c, 14 to 18), what that means, and the next safe step. The tests walk through the table with logs of real servers;
 * docs/recovery-failures.md is generated from it.
 */

/** What is known of one reason. */
export interface FatalEntry {
  /** How PostgreSQL says it, for people. */
  readonly says: string;
  /** Its messages: the first entry with one that fits is the reason. */
  readonly messages: readonly RegExp[];
  /** Classes of errors (manual, appendix A) that mean the same when no message fits. */
  readonly sqlStates?: readonly string[];
  /** What it means. */
  readonly meaning: string;
  /** What to do next, without risk to the data. */
  readonly next: string;
  /** May another start of the same directory succeed without anybody changing anything? Then the restore starts it again by itself. */
  readonly mayPass: boolean;
}

const keptDirectory = 'The data directory is kept';

/** The table, in the order in which messages are compared. */
export const recoveryFatals = {
  'ended-before-target': {
    says: 'recovery ended before configured recovery target was reached',
    messages: [/^recovery ended before configured recovery target was reached/],
    meaning: 'The WAL that the restore may see holds nothing behind the target.',
    next: 'Nothing by hand: --on-early-end decides, by proof where there is one.',
    mayPass: false,
  },
  'insufficient-settings': {
    says: 'recovery aborted because of insufficient parameter settings',
    messages: [/^recovery aborted because of insufficient parameter settings/],
    meaning: 'The source had raised max_connections or the like, and recovery needs at least as much.',
    next: 'Nothing by hand: the same directory is started again with the value that PostgreSQL names.',
    mayPass: false,
  },
  'restore-command-failed': {
    says: 'could not restore file "…" from archive: child process exited with exit code 255',
    messages: [/^could not restore file ".*" from archive/],
    meaning: 'restore_command could not tell whether the WAL file exists: store, network or agent failed. Nothing is lost.',
    next: 'Bring the store and the agent back; the same directory is started again.',
    mayPass: true,
  },
  'checkpoint-record-missing': {
    says: 'could not locate required checkpoint record',
    messages: [/^could not (?:locate|find) (?:a valid|required) checkpoint record/, /^invalid (?:primary )?checkpoint record/],
    meaning: "The segment that holds the checkpoint of the base backup is not in the archive, or not that server's.",
    next: 'Do not follow the hint to touch recovery.signal or to remove backup_label: either gives a cluster with wrong data. Run `walkback verify CLUSTER` and restore from another base backup (--backup).',
    mayPass: false,
  },
  'redo-location-missing': {
    says: 'could not find redo location referenced by checkpoint record',
    messages: [/^could not find redo location/],
    meaning: 'The first segment that the base backup needs is not in the archive.',
    next: 'Do not remove backup_label, whatever the hint says. Run `walkback verify CLUSTER` and restore from another base backup (--backup).',
    mayPass: false,
  },
  'wal-ends-before-consistency': {
    says: 'WAL ends before consistent recovery point',
    messages: [/^WAL ends before (?:consistent recovery point|end of online backup)/, /^online backup was canceled/],
    meaning: 'WAL that was written while the base backup was taken is missing; without it the files do not fit together.',
    next: 'Bring the missing segments into the archive, or restore from another base backup (--backup).',
    mayPass: false,
  },
  'target-before-consistency': {
    says: 'requested recovery stop point is before consistent recovery point',
    messages: [/^requested recovery stop point is before consistent recovery point/],
    meaning: 'The target lies before the end of the base backup.',
    next: 'Restore from an older base backup (--backup), or to a later target.',
    mayPass: false,
  },
  'timeline-missing': {
    says: 'recovery target timeline … does not exist',
    messages: [/^recovery target timeline \d+ does not exist/],
    meaning: 'The archive holds no history file of the timeline that was asked for.',
    next: 'Look at the timelines with `walkback window CLUSTER`, and ask for one of them (--timeline).',
    mayPass: false,
  },
  'wrong-timeline': {
    says: "requested timeline … is not a child of this server's history",
    messages: [/^requested timeline \d+ /, /^unexpected timeline ID/],
    meaning: 'The base backup lies on a branch that does not lead to that timeline.',
    next: 'Restore from a base backup of the right branch (--backup), or along its own timeline (--timeline current).',
    mayPass: false,
  },
  'history-damaged': {
    says: 'syntax error in history file: …',
    messages: [/^(?:syntax error|invalid data) in history file/],
    meaning: 'A history file in the archive is not one.',
    next: 'Run `walkback verify CLUSTER --deep`, and bring a good copy of the file back from the server that made it.',
    mayPass: false,
  },
  'wal-level-minimal': {
    says: 'WAL was generated with "wal_level=minimal", cannot continue recovering',
    messages: [/^WAL was generated with "?wal_level=minimal/],
    meaning: 'For a time the source wrote WAL that cannot rebuild its data.',
    next: 'Restore to a target before that time, or from a base backup that was taken after it.',
    mayPass: false,
  },
  'incompatible-major': {
    says: 'database files are incompatible with server',
    messages: [/^database files are incompatible with server/],
    meaning: 'The programs are of another PostgreSQL major, or were built otherwise than those of the source.',
    next: "Install the source's major on the host, or name its programs (host.postgres_bin_directories), and restore again.",
    mayPass: false,
  },
  'resource-manager-missing': {
    says: 'resource manager with ID … not registered',
    messages: [/^resource manager with ID \d+ not registered/],
    meaning: 'An extension of the source writes WAL of its own, and its library is not loaded while recovering.',
    next: 'Restore to a target before its first use; a library that replays WAL has to be preloaded, which walkback does not do.',
    mayPass: false,
  },
  'library-missing': {
    says: 'could not access file "…": No such file or directory',
    messages: [/^could not (?:access file|load library)/],
    meaning: 'A library that the configuration names is not installed, or does not load.',
    next: "Install the extension's package for that major, or take it out of shared_preload_libraries.",
    mayPass: false,
  },
  'tablespace-bad': {
    says: 'directory "…" does not exist (of a tablespace), could not remove … "pg_tblspc/…"',
    messages: [
      /^could not (?:remove|create) (?:directory|symbolic link|file or directory|directory or file) "(?:pg_tblspc|.*\/PG_\d+)/,
      /^directory ".*" does not exist$/,
      /^could not (?:stat|set permissions on) directory ".*": No such file/,
      /^directory ".*" already in use as a tablespace/,
    ],
    meaning: 'A tablespace was made after the base backup at a path that this host lacks, or its place in pg_tblspc is taken.',
    next: 'Make the named directory, owned by the user of PostgreSQL and empty, and restore again; never one that another cluster uses.',
    mayPass: false,
  },
  'control-file-damaged': {
    says: 'incorrect checksum in control file',
    messages: [
      /^incorrect checksum in control file/,
      /^invalid WAL segment size in control file/,
      /^could not read file "global\/pg_control"/,
    ],
    meaning: 'global/pg_control is not what the base backup holds.',
    next: 'Restore into another directory. Do not use pg_resetwal.',
    mayPass: false,
  },
  'control-file-missing': {
    says: 'could not find the database system',
    messages: [/could not find the database system/, /^could not open file "global\/pg_control": No such file/],
    meaning:
      'The directory has no pg_control: its fetch did not come to its end, or the restore was given up and the directory made unbootable.',
    next: 'Restore into another directory; this one is evidence.',
    mayPass: false,
  },
  'directory-incomplete': {
    says: 'required WAL directory "pg_wal" does not exist',
    messages: [/^required WAL directory/, /is not a valid data directory/],
    meaning: 'Files of the data directory are gone.',
    next: 'Find out who removed them, and restore into another directory.',
    mayPass: false,
  },
  'label-damaged': {
    says: 'invalid data in file "backup_label"',
    messages: [/^invalid data in file "(?:backup_label|tablespace_map)"/],
    meaning: 'backup_label or tablespace_map is not what the base backup holds.',
    next: 'Do not remove it: PostgreSQL would start without a word and hold wrong data. Restore into another directory.',
    mayPass: false,
  },
  'permission-denied': {
    says: 'data directory "…" has invalid permissions',
    messages: [/^data directory ".*" has (?:invalid permissions|wrong ownership)/, /: Permission denied$/],
    sqlStates: ['42501'],
    meaning: 'The user of PostgreSQL may not use the directory or a file in it, or others may.',
    next: 'Look for what changes owners or modes on the host; the agent makes everything as its own user, with mode 0700.',
    mayPass: false,
  },
  'port-in-use': {
    says: 'could not create any TCP/IP sockets',
    messages: [
      /^could not create any (?:TCP\/IP|Unix-domain) sockets/,
      /^could not create listen socket for/,
      /^lock file ".*\/\.s\.PGSQL\.\d+\.lock" already exists/,
      /^could not create lock file/,
    ],
    meaning: 'Another program took the port, or the socket, after the restore had begun.',
    next: 'End that program; the same directory is started again.',
    mayPass: true,
  },
  'already-running': {
    says: 'lock file "postmaster.pid" already exists',
    messages: [/^lock file ".*" already exists/, /^pre-existing shared memory block/],
    meaning: 'A server runs on the directory, or the last processes of one that was killed are still ending.',
    next: 'Nothing by hand: it is tried again. Never remove postmaster.pid while a process uses the directory.',
    mayPass: true,
  },
  'out-of-memory': {
    says: 'could not map anonymous shared memory: Cannot allocate memory',
    messages: [
      /^could not (?:map anonymous shared memory|create shared memory segment|create semaphores|resize shared memory)/,
      /^out of memory/,
      /Cannot allocate memory$/,
    ],
    sqlStates: ['53200'],
    meaning: 'The host has less memory than the configuration asks for.',
    next: 'Free memory, or restore on a larger host; `walkback restore … --plan` tells what the source uses.',
    mayPass: false,
  },
  'disk-full': {
    says: 'could not extend file "…": No space left on device',
    messages: [/No space left on device/, /Disk quota exceeded/],
    sqlStates: ['53100'],
    meaning: 'The file system is full. Nothing is lost.',
    next: 'Make room; the same directory is started again.',
    mayPass: true,
  },
  'invalid-pages': {
    says: 'WAL contains references to invalid pages',
    messages: [/^WAL contains references to invalid pages/],
    meaning: 'The WAL changes pages that the restored files do not have: a file is missing, shortened, or of another backup.',
    next: 'Do not set ignore_invalid_pages. Run `walkback verify CLUSTER --deep`, and restore from another base backup (--backup).',
    mayPass: false,
  },
  'data-damaged': {
    says: 'invalid page in block … of relation …',
    messages: [/^invalid page in block/, /^could not read block/, /^page verification failed/],
    sqlStates: ['XX001', 'XX002'],
    meaning: 'A page is damaged: in the base backup, or by the disk of this host.',
    next: 'Do not set zero_damaged_pages. Run `walkback verify CLUSTER --deep`; restore from another base backup, or onto another disk.',
    mayPass: false,
  },
  'configuration-invalid': {
    says: 'configuration file "…" contains errors',
    messages: [
      /^configuration file ".*" contains errors/,
      /^could not load .*pg_(?:hba|ident)/,
      /^invalid value for parameter/,
      /recovery targets specified/,
      /^must specify "?restore_command"?/,
      /^could not (?:load|access) (?:server certificate|private key|root certificate|SSL)/,
    ],
    sqlStates: ['F0000', '22023'],
    meaning:
      'PostgreSQL does not take its configuration. Walkback writes it whole, so somebody changed it, or this server is of an unknown build.',
    next: 'Read the lines before it in the log, undo the change, and restore again.',
    mayPass: false,
  },
  killed: {
    says: 'startup process (PID …) was terminated by signal 9: Killed',
    messages: [/^startup process \(PID \d+\) was terminated by signal 9\b/],
    meaning: 'The kernel ended the replaying process, usually because memory ran out; or somebody did.',
    next: 'Look for "Out of memory" in the log of the kernel, and free memory; the same directory is started again.',
    mayPass: true,
  },
  crashed: {
    says: 'startup process (PID …) was terminated by signal 11: Segmentation fault',
    messages: [/^startup process \(PID \d+\) was terminated by/],
    meaning: 'The replaying process crashed: a defect of PostgreSQL or a library, or of the memory of this host.',
    next: `${keptDirectory} with its log and a core file, if the host writes one: report it to PostgreSQL. Restore on another host, or with the newest minor version.`,
    mayPass: false,
  },
  stopped: {
    says: 'terminating connection due to administrator command',
    messages: [/^terminating connection due to administrator command/, /^startup process \(PID \d+\) exited with exit code/],
    sqlStates: ['57P01'],
    meaning: 'Somebody, or the shutdown of the host, ended the server.',
    next: 'Nothing by hand: the same directory is started again.',
    mayPass: true,
  },
  other: {
    says: 'anything else',
    messages: [],
    meaning: 'A reason that this version of walkback does not know.',
    next: `${keptDirectory}. Read PostgreSQL's log in it (walkback_restore/log), and report the message.`,
    mayPass: false,
  },
} as const satisfies Readonly<Record<string, FatalEntry>>;

/** What stopped the server. */
export type RecoveryFatalCode = keyof typeof recoveryFatals;
