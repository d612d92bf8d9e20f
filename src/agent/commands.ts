/**
 * The shell lines that PostgreSQL runs. PostgreSQL replaces %f, %p, %r and %% in them and hands the rest to `sh -c`, in the data directory
 * (manual, sections 20.5.3 and 20.5.5).
 */
import { fileURLToPath } from 'node:url';

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

/** Value of archive_command for a cluster: exits 0 only when the file is durable in the archive, else 1 (127 when Node itself is gone). */
export function archiveCommand(options: CommandPaths & { readonly cluster: string }): string {
  return `exec ${agentCommand('push', options.cluster, options)}`;
}

/**
 * Value of restore_command for a restore. A segment that lies prefetched is moved into place by the shell alone: files appear in
 * prefetchDirectory by rename, complete, verified and synced. For everything else the agent is asked.
 *
 * Exit codes: 0 the verified file is in place; 1 proven absent; above 125, which ends recovery and keeps the directory, in all other cases.
 * The agent's command says 100 for absence; every other code below 126 is a failure of Node's own and becomes 255.
 * When PostgreSQL shuts down it sends SIGTERM to the whole process group: the shell dies by it, which PostgreSQL expects. A `mv` that
 * alone is killed leaves either the old or the new place of the file (one rename) or, across file systems, a partial copy that the agent
 * then replaces.
 */
export function restoreCommand(options: CommandPaths & { readonly restoreId: string; readonly prefetchDirectory: string }): string {
  const prefetched = `${quoteForShell(`${options.prefetchDirectory}/`)}%f`;
  return [
    `mv -f -- ${prefetched} "%p" 2>/dev/null && exit 0`,
    agentCommand('fetch', options.restoreId, options),
    'status=$?; if [ $status -eq 100 ]; then exit 1; fi',
    'if [ $status -ge 1 ] && [ $status -le 125 ]; then exit 255; fi',
    'exit $status',
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
