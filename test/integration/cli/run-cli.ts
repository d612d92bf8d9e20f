/** The CLI as its users meet it: a child process with a pipe for stdout and stderr. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

/** What a command of the CLI gave. */
export interface CliOutcome {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly milliseconds: number;
}

/** Where a command runs. */
export interface CliPlace {
  readonly directory: string;
  /** Over the test's own environment. */
  readonly environment: Readonly<Record<string, string>>;
}

export const mainProgram = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
const commandTimeoutMs = 90_000;

/** Starts `walkback …args`. */
export function startCli({ directory, environment }: CliPlace, args: readonly string[]) {
  return execa(process.execPath, [mainProgram, ...args], {
    cwd: directory,
    env: environment,
    reject: false,
    stdin: 'ignore',
    timeout: commandTimeoutMs,
  });
}

/** Runs `walkback …args` to its end. */
export async function runCli(place: CliPlace, args: readonly string[]): Promise<CliOutcome> {
  const { exitCode, stdout, stderr, durationMs } = await startCli(place, args);
  return { exitCode, stdout, stderr, milliseconds: durationMs };
}

/** What --json printed: the whole of stdout is one document. */
export function documentOf(outcome: Pick<CliOutcome, 'stdout'>): unknown {
  return JSON.parse(outcome.stdout);
}

/** The members that a section of docs/cli-json.md promises: what stands in code in the first column of its table. */
export async function documentedMembers(section: string): Promise<ReadonlySet<string>> {
  const page = await readFile(new URL('../../../docs/cli-json.md', import.meta.url), 'utf8');
  const [, text = ''] = page.split(new RegExp(`^##+ ${section}$`, 'm'));
  const [table = ''] = text.split(/^##/m);
  const cells = Array.from(table.matchAll(/^\| (`[^|]*) \|/gm), ([, cell = '']) => cell);
  return new Set(cells.flatMap((cell) => Array.from(cell.matchAll(/`(?:restores\[\]\.|temporal\.)?(\w+)`/g), ([, name = '']) => name)));
}

/** The code of the error that --json printed. */
export function errorCodeOf(outcome: Pick<CliOutcome, 'stdout'>): string {
  return (documentOf(outcome) as { error: { code: string } }).error.code;
}
