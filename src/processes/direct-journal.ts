/**
 * What a restore without Temporal has done so far, as one line of JSON for each activity that has ended. The story is run again from its
 * beginning after a crash; what is written here is not done again.
 */
import { type FileHandle, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeDirectoryDurably, syncDirectory, writeFileDurably } from '../files/durable-file.ts';
import { type ErrorCode, type ErrorFacts, WalkbackError } from '../domain/errors.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import { describeTarget } from '../domain/recovery-target.ts';

/** How an activity ended. */
export type RecordedOutcome =
  | { readonly result: unknown }
  | { readonly failure: { readonly code: ErrorCode; readonly message: string; readonly hint: string; readonly facts: ErrorFacts } };

interface Header {
  readonly version: 1;
  readonly runId: string;
  readonly request: CompleteRestoreRequest;
}

type Entry = RecordedOutcome & { readonly activity: string };

/** What was done, and a place to write what is. */
export interface RestoreJournal {
  readonly runId: string;
  /** How the next activity of the story ended, when it has. @throws WalkbackError INTERNAL when the story is another one now */
  next(activity: string): RecordedOutcome | undefined;
  /** Durable when it resolves. */
  record(activity: string, outcome: RecordedOutcome): Promise<void>;
}

/** What the activity gave. @throws WalkbackError what it failed with */
export function resultOf(outcome: RecordedOutcome): unknown {
  if ('result' in outcome) return outcome.result;
  const { code, message, hint, facts } = outcome.failure;
  throw new WalkbackError(code, message, { hint, facts });
}

/** The journal of one restore. */
export class DirectJournal implements RestoreJournal, AsyncDisposable {
  readonly runId: string;
  readonly request: CompleteRestoreRequest;
  /** Does it go on with what was begun? */
  readonly isResumed: boolean;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #entries: Entry[];
  #position = 0;

  private constructor(path: string, file: FileHandle, { header, entries }: { header: Header; entries: Entry[] }) {
    this.#path = path;
    this.#file = file;
    this.#entries = entries;
    this.runId = header.runId;
    this.request = header.request;
    this.isResumed = entries.length > 0;
  }

  /**
   * Opens the journal of what was begun, or a new one.
   * @throws WalkbackError ALREADY_RUNNING when another restore into that directory was begun and has not ended
   */
  static async open(path: string, begin: { readonly runId: string; readonly request: CompleteRestoreRequest }): Promise<DirectJournal> {
    await makeDirectoryDurably(dirname(path));
    const begun = await contentOf(path);
    const { header, entries } = begun ?? { header: { version: 1, ...begin }, entries: [] };
    assertSame(header.request, begin.request, path);
    await writeFileDurably(path, [header, ...entries].map((line) => `${JSON.stringify(line)}\n`).join(''));
    return new DirectJournal(path, await open(path, 'a'), { header, entries });
  }

  /** What was begun and has not ended; undefined when there is nothing. */
  static async requestOf(path: string): Promise<CompleteRestoreRequest | undefined> {
    return (await contentOf(path))?.header.request;
  }

  /** Is the story still telling what was done before? */
  get isBehind(): boolean {
    return this.#position < this.#entries.length;
  }

  next(activity: string): RecordedOutcome | undefined {
    const entry = this.#entries[this.#position];
    if (entry === undefined) return undefined;
    if (entry.activity !== activity) {
      throw new WalkbackError(
        'INTERNAL',
        `${this.#path} was written by another version: it goes on with ${entry.activity} where ${activity} comes now.`,
        {
          hint: 'Start the agent of that version again to finish the restore; or remove this file and the data directory, and restore anew.',
        },
      );
    }
    this.#position += 1;
    return entry;
  }

  async record(activity: string, outcome: RecordedOutcome): Promise<void> {
    const entry = { activity, ...outcome };
    this.#entries.push(entry);
    this.#position += 1;
    await this.#file.appendFile(`${JSON.stringify(entry)}\n`);
    await this.#file.datasync();
  }

  /** The restore has ended, well or not: the next one into the directory is another one. */
  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
    await syncDirectory(dirname(this.#path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

function assertSame(begun: CompleteRestoreRequest, asked: CompleteRestoreRequest, path: string): void {
  if (JSON.stringify(begun) === JSON.stringify(asked)) return;
  throw new WalkbackError(
    'ALREADY_RUNNING',
    `A restore of ${begun.cluster} to ${describeTarget(begun.target)} into ${begun.dataDirectory} was begun and has not ended; this is another request.`,
    {
      hint: `Give the very same command as then to go on with it, the target as an instant; or remove the data directory and ${path} to begin anew.`,
      facts: { dataDirectory: begun.dataDirectory, journal: path },
    },
  );
}

async function contentOf(path: string): Promise<{ readonly header: Header; readonly entries: Entry[] } | undefined> {
  const lines = (await textOf(path))?.split('\n') ?? [];
  // A line without its end was being written when the agent died.
  const [first, ...rest] = lines.slice(0, -1);
  if (first === undefined) return undefined;
  return { header: JSON.parse(first) as Header, entries: rest.map((line) => JSON.parse(line) as Entry) };
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
