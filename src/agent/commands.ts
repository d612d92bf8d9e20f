/**
 * The shell lines that PostgreSQL runs. PostgreSQL replaces %f, %p, %r and %% in them and hands the rest to `sh -c`, in the data directory
 * (manual, sections 20.5.3 and 20.5.5).
 */
import { fileURLToPath } from 'node:url';
import { absentSuffix } from './restore/prefetcher.ts';
import { wantedSuffix } from './shell/answer-directory.ts';
import { acknowledgementsPathOf, acknowledgementSuffixes } from './push/acknowledgements.ts';

/**
 * How long the shell looks for the answer before it asks over the socket: three seconds in all. Each look starts a `sleep`; archive_command looks less often, because
 * what it waits for takes longer, and nobody waits for it.
 */
const fetchWait = { stepSeconds: 0.01, stepsMaximum: 300 } as const;
const pushWait = { stepSeconds: 0.03, stepsMaximum: 100 } as const;
/** PostgreSQL 14 and 15 cut what they run after 1023 bytes (MAXPGPATH), without a word; %f and %p become longer than they are written. */
const archiveCommandMaximumBytes = 1023 - 6 * 40;

/** What both lines need. */
export interface CommandPaths {
  readonly socketPath: string;
  /** @default the Node that runs this process */
  readonly nodePath?: string;
  /** @default wal-command.cjs beside this file */
  readonly commandPath?: string;
  /** How long the command waits for an agent that does not answer. @default 10 s for push, 60 s for fetch */
  readonly agentWaitMs?: number;
}

/**
 * Value of archive_command for a cluster: exits 0 only when the file is durable in the archive, else 1 (127 when Node itself is gone).
 * The shell alone finds the acknowledgement of a file that was archived already (push/acknowledgements.ts says why it is proof); else it
 * asks for the file by one of its own making, and after a while, or when there is nobody to answer, over the socket. A shell or a system
 * that lacks `-ef`, `-nt` or fractions of a second asks over the socket.
 */
export function archiveCommand(options: CommandPaths & { readonly cluster: string; readonly stateDirectory: string }): string {
  const { stamp, wanted } = acknowledgementSuffixes;
  const ask = `exec ${agentCommand('push', options.cluster, options)}`;
  const line = [
    `a=${quoteForShell(`${acknowledgementsPathOf(options.stateDirectory, options.cluster)}/`)}%f`,
    `t() { [ "%p" -ef "$a" ] && [ "$a${stamp}" -nt "%p" ]; }`,
    't && exit 0',
    `{ true >"$a${wanted}"; } 2>/dev/null`,
    'i=0',
    `while [ -e "$a${wanted}" ] && [ $i -lt ${pushWait.stepsMaximum} ] && sleep ${pushWait.stepSeconds}; do t && exit 0; i=$((i+1)); done`,
    't && exit 0',
    ask,
  ].join('; ');
  return Buffer.byteLength(line) <= archiveCommandMaximumBytes ? line : ask;
}

/**
 * Value of restore_command for a restore. A segment that lies prefetched is moved into place by the shell alone: files appear in
 * prefetchDirectory by rename, complete, verified and synced. Any other file the shell asks for by one of its own making, and waits a little
 * for it, or for the proof that this restore's view of the WAL does not hold it; after that the agent is asked over the socket.
 *
 * Exit codes: 0 the verified file is in place; 1 proven absent; above 125, which ends recovery and keeps the directory, in all other cases.
 * The agent's command says 100 for absence; every other code below 126 is a failure of Node's own and becomes 255. A shell that ends of
 * itself, because it cannot fork for example, does so with 2, so its last word is said by a trap.
 * When PostgreSQL shuts down it sends SIGTERM to the whole process group: the shell dies by it, which PostgreSQL expects. A `mv` that
 * alone is killed leaves either the old or the new place of the file (one rename) or, across file systems, a partial copy that the agent
 * then replaces.
 */
export function restoreCommand(options: CommandPaths & { readonly restoreId: string; readonly prefetchDirectory: string }): string {
  const wanted = `"$f${wantedSuffix}"`;
  return [
    `s=255; trap 'exit $s' EXIT`,
    `f=${quoteForShell(`${options.prefetchDirectory}/`)}%f`,
    `t() { if [ -e "$f" ] && mv -f -- "$f" "%p" 2>/dev/null; then s=0; exit; fi; if [ -e "$f${absentSuffix}" ]; then s=1; exit; fi; }`,
    't',
    `{ true >${wanted}; } 2>/dev/null`,
    'i=0',
    `while [ -e ${wanted} ] && [ $i -lt ${fetchWait.stepsMaximum} ] && sleep ${fetchWait.stepSeconds}; do t; i=$((i+1)); done`,
    't',
    `${agentCommand('fetch', options.restoreId, options)}; s=$?`,
    'if [ $s -eq 100 ]; then s=1; elif [ $s -ge 1 ] && [ $s -le 125 ]; then s=255; fi',
    'exit',
  ].join('; ');
}

function agentCommand(operation: 'push' | 'fetch', owner: string, options: CommandPaths): string {
  const nodePath = options.nodePath ?? process.execPath;
  const commandPath = options.commandPath ?? fileURLToPath(new URL('wal-command.cjs', import.meta.url));
  const words = [nodePath, commandPath, operation, options.socketPath, owner].map(quoteForShell);
  const wait = options.agentWaitMs === undefined ? '' : ` ${options.agentWaitMs}`;
  return `${words.join(' ')} "%f" "%p"${wait}`;
}

/** One word for sh, with PostgreSQL's percent signs doubled. */
function quoteForShell(word: string): string {
  return `'${word.replaceAll("'", `'\\''`).replaceAll('%', '%%')}'`;
}
