/**
 * Reads JSON documents that are too large to hold: chunk by chunk, telling of keys and scalar values as they pass. A list of a million files
 * is 150 MB of text, and ten times that as objects.
 */

export type JsonScalar = string | number | boolean | null;

/** What a reader is told. `depth` counts the objects and arrays around: 1 is the document's own object. */
export interface JsonEvents {
  readonly key: (depth: number, name: string) => void;
  readonly value: (depth: number, value: JsonScalar) => void;
}

/** A single string or number longer than this is no file name. */
const maximumTokenBytes = 1024 * 1024;
const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openObject, closeObject, openArray, closeArray] = [0x7b, 0x7d, 0x5b, 0x5d];
const blanks: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);
const literalEnds: ReadonlySet<number> = new Set([...blanks, comma, closeObject, closeArray]);

/** What may come next. */
type Expected = 'value' | 'value-or-end' | 'key' | 'key-or-end' | 'colon' | 'comma-or-end' | 'end';

export class JsonScanner {
  readonly #events: JsonEvents;
  readonly #open: number[] = [];
  #expected: Expected = 'value';
  #left: Buffer = Buffer.alloc(0);

  constructor(events: JsonEvents) {
    this.#events = events;
  }

  /** Takes the next bytes. @throws SyntaxError when they are not JSON */
  push(chunk: Buffer): void {
    const bytes = this.#left.length === 0 ? chunk : Buffer.concat([this.#left, chunk]);
    let offset = 0;
    while (offset < bytes.length) {
      const next = this.#token(bytes, offset, false);
      if (next === undefined) break;
      offset = next;
    }
    this.#left = Buffer.from(bytes.subarray(offset));
    if (this.#left.length > maximumTokenBytes) throw new SyntaxError('a JSON value has no end');
  }

  /** @throws SyntaxError when the document is not whole */
  finish(): void {
    if (this.#left.length > 0 && this.#token(this.#left, 0, true) === undefined) throw new SyntaxError('the JSON ends within a value');
    if (this.#expected !== 'end') throw new SyntaxError('the JSON ends before its end');
  }

  /** Takes one token. @returns where the next one begins; undefined when this one goes on in the next chunk */
  #token(bytes: Buffer, offset: number, isLast: boolean): number | undefined {
    const byte = bytes[offset] ?? 0;
    if (blanks.has(byte)) return offset + 1;
    if (byte === quote) return this.#string(bytes, offset);
    if (byte === comma || byte === colon) return this.#separator(byte, offset);
    if (byte === openObject || byte === openArray) return this.#opened(byte, offset);
    if (byte === closeObject || byte === closeArray) return this.#closed(byte, offset);
    let end = offset;
    while (end < bytes.length && !literalEnds.has(bytes[end] ?? 0)) end += 1;
    if (end === bytes.length && !isLast) return undefined;
    this.#scalar(JSON.parse(bytes.toString('latin1', offset, end)) as JsonScalar);
    return end;
  }

  #string(bytes: Buffer, offset: number): number | undefined {
    let end = bytes.indexOf(quote, offset + 1);
    while (end > 0 && isEscaped(bytes, end)) end = bytes.indexOf(quote, end + 1);
    if (end < 0) return undefined;
    const raw = bytes.toString('utf8', offset + 1, end);
    const text = raw.includes('\\') || hasControl(raw) ? (JSON.parse(`"${raw}"`) as string) : raw;
    if (this.#expected !== 'key' && this.#expected !== 'key-or-end') this.#scalar(text);
    else {
      this.#events.key(this.#open.length, text);
      this.#expected = 'colon';
    }
    return end + 1;
  }

  #scalar(value: JsonScalar): void {
    this.#expectValue();
    this.#events.value(this.#open.length, value);
    this.#afterValue();
  }

  #separator(byte: number, offset: number): number {
    const isRight = byte === comma ? this.#expected === 'comma-or-end' : this.#expected === 'colon';
    if (!isRight) throw unexpected(byte);
    this.#expected = byte === comma && this.#open.at(-1) === openObject ? 'key' : 'value';
    return offset + 1;
  }

  #opened(byte: number, offset: number): number {
    this.#expectValue();
    this.#open.push(byte);
    this.#expected = byte === openObject ? 'key-or-end' : 'value-or-end';
    return offset + 1;
  }

  #closed(byte: number, offset: number): number {
    const container = this.#open.pop();
    const isRight = container === (byte === closeObject ? openObject : openArray) && this.#expected.endsWith('-or-end');
    if (!isRight) throw unexpected(byte);
    this.#afterValue();
    return offset + 1;
  }

  #expectValue(): void {
    if (this.#expected !== 'value' && this.#expected !== 'value-or-end') throw new SyntaxError('a JSON value is out of place');
  }

  #afterValue(): void {
    this.#expected = this.#open.length === 0 ? 'end' : 'comma-or-end';
  }
}

function isEscaped(bytes: Buffer, at: number): boolean {
  let count = 0;
  while (bytes[at - 1 - count] === backslash) count += 1;
  return count % 2 === 1;
}

/** JSON.parse finds the right words for what JSON forbids. */
function hasControl(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) if (text.charCodeAt(index) < 0x20) return true;
  return false;
}

function unexpected(byte: number): SyntaxError {
  return new SyntaxError(`"${String.fromCharCode(byte)}" is out of place in the JSON`);
}
