/** The server's log in each of its formats (manual, section 20.8.4 csvlog and 20.8.5 jsonlog). */
import { open } from 'node:fs/promises';
import { type Instant, parseInstant } from '../domain/instant.ts';
import type { LogRecord } from '../domain/recovery-events.ts';

/** How a log file is written, told by its name: `.json`, `.csv`, anything else. */
export type LogFormat = 'jsonlog' | 'csvlog' | 'stderr';

/** A piece of a log. */
export interface LogPiece {
  readonly records: readonly LogRecord[];
  /** Where the next piece begins: behind the last whole record. */
  readonly nextBytes: number;
}

/** Which piece to read. */
export interface LogPieceOptions {
  /** Default 0. */
  readonly fromBytes?: number;
  /** Default 1 MiB. */
  readonly maximumBytes?: number;
}

const defaultMaximumBytes = 1024 * 1024;
const lineFeed = 0x0a;
const quote = 0x22;

/**
 * Reads whole records from a log file; a torn last one is left for the next call, and a line that is no record is passed over. A file that does
 * not exist yet has no records.
 */
export async function readLogRecords(file: string, options: LogPieceOptions = {}): Promise<LogPiece> {
  const fromBytes = options.fromBytes ?? 0;
  const maximumBytes = options.maximumBytes ?? defaultMaximumBytes;
  const bytes = await readPiece(file, fromBytes, maximumBytes);
  const format = logFormatOf(file);
  const wholeBytes = endOfLastRecord(bytes, format);
  // A record longer than the whole piece would hold the reader up for ever.
  if (wholeBytes === 0 && bytes.length === maximumBytes) return { records: [], nextBytes: fromBytes + bytes.length };
  return { records: parseLog(bytes.toString('utf8', 0, wholeBytes), format), nextBytes: fromBytes + wholeBytes };
}

/** The format of a log file by its name. */
function logFormatOf(file: string): LogFormat {
  if (file.endsWith('.json')) return 'jsonlog';
  return file.endsWith('.csv') ? 'csvlog' : 'stderr';
}

/** Takes whole records apart. */
export function parseLog(text: string, format: LogFormat): LogRecord[] {
  if (format === 'csvlog') return splitCsv(text).flatMap((fields) => recordOfCsv(fields));
  const lines = text.split('\n').filter((line) => line !== '');
  return format === 'jsonlog' ? lines.flatMap(recordOfJson) : recordsOfPlainLines(lines);
}

async function readPiece(path: string, fromBytes: number, maximumBytes: number): Promise<Buffer> {
  try {
    const file = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(maximumBytes), 0, maximumBytes, fromBytes);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}

function endOfLastRecord(bytes: Buffer, format: LogFormat): number {
  if (format !== 'csvlog') return bytes.lastIndexOf(lineFeed) + 1;
  let end = 0;
  let quoted = false;
  for (const [index, byte] of bytes.entries()) {
    if (byte === quote) quoted = !quoted;
    else if (byte === lineFeed && !quoted) end = index + 1;
  }
  return end;
}

function recordOfJson(line: string): LogRecord[] {
  try {
    const entry = JSON.parse(line) as Record<string, unknown>;
    const text = (name: string) => (typeof entry[name] === 'string' ? entry[name] : undefined);
    const message = text('message');
    if (message === undefined) return [];
    return [
      {
        time: logTime(text('timestamp')),
        pid: typeof entry['pid'] === 'number' ? entry['pid'] : undefined,
        severity: text('error_severity') ?? 'LOG',
        sqlState: text('state_code'),
        message,
        detail: text('detail'),
        hint: text('hint'),
        backendType: text('backend_type'),
      },
    ];
  } catch {
    // A server that was killed leaves half a line, with the next start's first line behind it.
    return [];
  }
}

/** Columns of csvlog that count here. */
const csvColumns = { time: 0, pid: 3, severity: 11, sqlState: 12, message: 13, detail: 14, hint: 15, backendType: 23 } as const;

function recordOfCsv(fields: readonly string[]): LogRecord[] {
  const text = (column: number) => fields[column] || undefined;
  const message = text(csvColumns.message);
  const severity = text(csvColumns.severity);
  if (message === undefined || severity === undefined) return [];
  return [
    {
      time: logTime(text(csvColumns.time)),
      pid: numberOf(text(csvColumns.pid)),
      severity,
      sqlState: text(csvColumns.sqlState),
      message,
      detail: text(csvColumns.detail),
      hint: text(csvColumns.hint),
      backendType: text(csvColumns.backendType),
    },
  ];
}

/** RFC 4180: fields in quotes may hold commas, line feeds, and quotes that are doubled. */
function splitCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n|$)/g)) {
    row.push(quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'));
    if (end === ',') continue;
    rows.push(row);
    row = [];
  }
  return rows;
}

const plainLine = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \S+) \[(\d+)\] (?:.*? )?([A-Z]+[1-5]?): {2}(.*)$/s;

/** Default log_line_prefix, `%m [%p] `; DETAIL and HINT are lines of their own, and a tab begins a line that goes on. */
function recordsOfPlainLines(lines: readonly string[]): LogRecord[] {
  const records: LogRecord[] = [];
  for (const line of lines) {
    const last = records.at(-1);
    const [, time, pid, label = '', text = ''] = plainLine.exec(line) ?? [];
    if (line.startsWith('\t') && last !== undefined)
      records[records.length - 1] = { ...last, message: `${last.message}\n${line.slice(1)}` };
    else if (label === 'DETAIL' && last !== undefined) records[records.length - 1] = { ...last, detail: text };
    else if (label === 'HINT' && last !== undefined) records[records.length - 1] = { ...last, hint: text };
    else records.push(plainRecord({ time: logTime(time), pid: numberOf(pid), severity: label || 'LOG', message: text || line }));
  }
  return records;
}

function plainRecord(known: Pick<LogRecord, 'time' | 'pid' | 'severity' | 'message'>): LogRecord {
  return { ...known, sqlState: undefined, detail: undefined, hint: undefined, backendType: undefined };
}

/** The log's own times carry a zone's name; ours are written in UTC (log_timezone), and another zone's name is not guessed at. */
function logTime(text: string | undefined): Instant | undefined {
  const [, clock] = /^(.+) (?:UTC|GMT)$/.exec(text ?? '') ?? [];
  try {
    return clock === undefined ? undefined : parseInstant(`${clock}Z`);
  } catch {
    // Not a time after all: the record still counts.
    return undefined;
  }
}

function numberOf(text: string | undefined): number | undefined {
  const number = Number(text ?? '');
  return text === undefined || !Number.isInteger(number) ? undefined : number;
}
