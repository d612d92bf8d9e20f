/**
 * WAL files that the archive refuses: it holds other content under the name, or the file is not what its name says. PostgreSQL keeps such a file with
 * all behind it and asks again; nothing but a person ends that.
 */
import type { ErrorCode } from '../../domain/errors.ts';
import { isReady } from './archive-status.ts';

/** A file, and why it is refused. */
export interface Refusal {
  readonly name: string;
  readonly code: ErrorCode;
}

const refusingCodes: ReadonlySet<ErrorCode> = new Set(['WAL_CONFLICT', 'WAL_REFUSED']);
/** PostgreSQL asks for one file again and again, so there are hardly ever two. The oldest is forgotten, and known again when it is asked for. */
const keptMaximumCount = 16;

/** Those of one cluster. */
export class Refusals {
  readonly #dataDirectory: string;
  readonly #codes = new Map<string, ErrorCode>();

  constructor(dataDirectory: string) {
    this.#dataDirectory = dataDirectory;
  }

  /** A push failed; only a refusal is remembered. */
  note(name: string, code: ErrorCode): void {
    if (!refusingCodes.has(code)) return;
    this.#codes.delete(name);
    this.#codes.set(name, code);
    const [oldest] = this.#codes.keys();
    if (oldest !== undefined && this.#codes.size > keptMaximumCount) this.#codes.delete(oldest);
  }

  /** The file is archived. */
  forget(name: string): void {
    this.#codes.delete(name);
  }

  /** Those that PostgreSQL still keeps. */
  async waiting(): Promise<readonly Refusal[]> {
    for (const name of this.#codes.keys()) if (!(await isReady(this.#dataDirectory, name))) this.#codes.delete(name);
    return [...this.#codes].map(([name, code]) => ({ name, code }));
  }
}
