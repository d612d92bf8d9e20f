/**
 * What the CLI prints: the answer on stdout (for people, or one JSON document with --json), everything else on stderr. docs/cli-json.md is
 * the contract of the JSON.
 */
import { messageOf, WalkbackError } from '../domain/errors.ts';

/** Where a command writes. */
export interface Output {
  /** One JSON document on stdout instead of text. */
  readonly json: boolean;
  /** May lines be overwritten on stderr? */
  readonly isTerminal: boolean;
  /** The command's answer. Called once. */
  answer(document: unknown, text: string): void;
  /** A remark for the person who waits. */
  note(line: string): void;
  /** Replaces the last progress line on a terminal; nothing elsewhere. */
  progress(line: string): void;
}

/** Makes the output of a process. */
export function createOutput(options: {
  readonly json: boolean;
  readonly stdout?: NodeJS.WriteStream;
  readonly stderr?: NodeJS.WriteStream;
}): Output {
  const { json, stdout = process.stdout, stderr = process.stderr } = options;
  const isTerminal = stderr.isTTY === true;
  const clear = isTerminal ? '\r\u001B[2K' : '';
  return {
    json,
    isTerminal,
    answer: (document, text) => stdout.write(json ? `${JSON.stringify(document, undefined, 2)}\n` : `${text}\n`),
    note: (line) => stderr.write(`${clear}${line}\n`),
    progress: (line) => {
      if (isTerminal) stderr.write(`${clear}${line.slice(0, Math.max(20, (stderr.columns ?? 80) - 1))}`);
    },
  };
}

/** Prints an error: what failed and what to do, or the same as JSON. @returns the exit code */
export function printError(error: unknown, output: Output): number {
  const known = error instanceof WalkbackError ? error : new WalkbackError('INTERNAL', messageOf(error), { cause: error });
  output.note(`walkback: ${known.message}`);
  if (known.hint !== '') output.note(`Try: ${known.hint}`);
  if (output.json) output.answer(errorDocument(known), '');
  return known.exitCode;
}

/** What --json prints for an error. */
export function errorDocument({ code, message, hint, facts }: WalkbackError): object {
  return { ok: false, error: { code, message, hint, facts } };
}

/** Columns aligned by their widest value, for people. */
export function renderTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** For people: `3.2 GiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** For people: `4.2 s`, `3 min 05 s`, `2 h 10 min`. */
export function formatDuration(milliseconds: number): string {
  // Rounded first, or 59.97 s would read as 60.0 s.
  const seconds = Math.round(milliseconds / 100) / 10;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(Math.floor(seconds % 60)).padStart(2, '0')} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}
