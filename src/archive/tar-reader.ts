/**
 * Reads tar archives as they are found: ustar, PAX (POSIX.1-2001), GNU long names and base-256 sizes, old tars whose directories end with a slash,
 * archives without end blocks or final padding (WAL-G's remote backups). What cannot be understood is an error, never skipped.
 * Nothing is awaited: bytes come in by `push` and go on in the same call, since a wait for each 64 KiB costs more than writing them.
 */
import { tarBlockBytes, tarPaddingBytes } from './tar-writer.ts';

/** A member of an archive. */
export interface TarMember {
  readonly name: string;
  readonly type: 'file' | 'directory' | 'link';
  readonly mode: number;
  readonly sizeBytes: number;
}

/** Takes the content of one member: pieces that are valid during the call only, and then its end. */
export interface MemberSink {
  readonly write: (piece: Buffer) => void;
  /** Where the next bytes are wanted: a piece that lies there is not copied. Never empty; undefined: anywhere. */
  readonly target?: () => Buffer | undefined;
  readonly end: () => void;
}

/** PAX records and GNU long names: names, not contents. */
const maximumExtensionBytes = 1024 * 1024;

/** What the reader is in the middle of. */
type Place =
  | { readonly kind: 'header' }
  | { readonly kind: 'extension'; readonly header: Header; readonly sizeBytes: number }
  | { readonly kind: 'body'; readonly name: string; readonly sink: MemberSink | undefined }
  | { readonly kind: 'padding' }
  | { readonly kind: 'end' };

export class TarReader {
  readonly #onMember: (member: TarMember) => MemberSink | undefined;
  #place: Place = { kind: 'header' };
  /** Bytes that the present place still takes. */
  #leftBytes = tarBlockBytes;
  #paddingBytes = 0;
  #collected: Buffer[] = [];
  #overrides: HeaderOverrides = {};

  /** @param onMember is told of each member and says who takes its content; undefined: nobody */
  constructor(onMember: (member: TarMember) => MemberSink | undefined) {
    this.#onMember = onMember;
  }

  /** Takes the next bytes of the archive. @throws SyntaxError when they are no tar archive */
  push(chunk: Buffer): void {
    for (let offset = 0; offset < chunk.length;) {
      if (this.#place.kind === 'end') {
        // wal-g: internal/extract.go, readTrailingZeros.
        if (!isZero(chunk.subarray(offset))) throw new SyntaxError('something other than zeros follows the end of the tar');
        return;
      }
      const piece = chunk.subarray(offset, offset + this.#leftBytes);
      offset += piece.length;
      this.#leftBytes -= piece.length;
      this.#take(piece);
      if (this.#leftBytes === 0) this.#complete();
    }
  }

  /** Where the next bytes are wanted: in the memory of whoever takes the present member's content. Never empty; undefined: anywhere. */
  target(): Buffer | undefined {
    return this.#place.kind === 'body' ? this.#place.sink?.target?.()?.subarray(0, this.#leftBytes) : undefined;
  }

  /** @throws SyntaxError when the archive ends too early */
  finish(): void {
    const { kind } = this.#place;
    if (kind === 'body') throw new SyntaxError(`the tar ends ${this.#leftBytes} bytes before the end of ${this.#place.name}`);
    if (kind === 'extension') throw new SyntaxError('the tar ends within an extension header');
    if (kind === 'header' && this.#collected.length > 0) throw new SyntaxError(`the data ends ${this.#leftBytes} bytes early`);
  }

  #take(piece: Buffer): void {
    if (this.#place.kind === 'body') this.#place.sink?.write(piece);
    // A copy: the chunk is filled anew before the rest of a cut header comes.
    else if (this.#place.kind !== 'padding') this.#collected.push(this.#leftBytes === 0 ? piece : Buffer.from(piece));
  }

  #complete(): void {
    const place = this.#place;
    if (place.kind === 'header') this.#onHeader(this.#whole());
    else if (place.kind === 'extension') {
      this.#overrides = { ...this.#overrides, ...extensionOf(place.header, this.#whole().subarray(0, place.sizeBytes)) };
      this.#go({ kind: 'header' }, tarBlockBytes);
    } else if (place.kind === 'body') this.#endMember(place.sink);
    else this.#go({ kind: 'header' }, tarBlockBytes);
  }

  #onHeader(block: Buffer): void {
    if (isZero(block)) {
      this.#go({ kind: 'end' }, 0);
      return;
    }
    const header = parseHeader(block);
    if ('xgLK'.includes(header.typeFlag)) this.#startExtension(header);
    else this.#startMember({ ...header, ...this.#overrides });
  }

  #startExtension(header: Header): void {
    const { sizeBytes } = header;
    if (sizeBytes > maximumExtensionBytes) throw new SyntaxError(`a tar extension header of ${sizeBytes} bytes`);
    if (sizeBytes > 0) this.#go({ kind: 'extension', header, sizeBytes }, sizeBytes + tarPaddingBytes(sizeBytes));
    else this.#go({ kind: 'header' }, tarBlockBytes);
  }

  #startMember(header: Header): void {
    this.#overrides = {};
    const type = memberType(header);
    const sizeBytes = type === 'file' ? header.sizeBytes : 0;
    const sink = this.#onMember({ name: header.name, type, mode: header.mode & 0o7777, sizeBytes });
    this.#paddingBytes = tarPaddingBytes(sizeBytes);
    this.#go({ kind: 'body', name: header.name, sink }, sizeBytes);
    if (sizeBytes === 0) this.#endMember(sink);
  }

  #endMember(sink: MemberSink | undefined): void {
    sink?.end();
    if (this.#paddingBytes > 0) this.#go({ kind: 'padding' }, this.#paddingBytes);
    else this.#go({ kind: 'header' }, tarBlockBytes);
  }

  #go(place: Place, leftBytes: number): void {
    this.#place = place;
    this.#leftBytes = leftBytes;
  }

  #whole(): Buffer {
    const [only] = this.#collected;
    const whole = this.#collected.length === 1 && only !== undefined ? only : Buffer.concat(this.#collected);
    this.#collected = [];
    return whole;
  }
}

interface Header {
  readonly name: string;
  readonly typeFlag: string;
  readonly mode: number;
  readonly sizeBytes: number;
}

/** What PAX records and GNU long names say about the next member. */
type HeaderOverrides = Partial<Pick<Header, 'name' | 'sizeBytes'>>;

const pathRecords: Readonly<Record<string, (value: string) => HeaderOverrides>> = {
  path: (value) => ({ name: value }),
  size: (value) => ({ sizeBytes: Number(value) }),
};

function extensionOf(header: Header, content: Buffer): HeaderOverrides {
  if (header.typeFlag === 'L') return { name: untilNul(content, 'utf8') };
  return header.typeFlag === 'x' ? parsePaxRecords(content) : {};
}

function parsePaxRecords(content: Buffer): HeaderOverrides {
  let overrides: HeaderOverrides = {};
  for (let offset = 0; offset < content.length;) {
    const blank = content.indexOf(0x20, offset);
    const lengthBytes = Number(content.toString('latin1', offset, blank));
    const record = content.toString('utf8', blank + 1, offset + lengthBytes - 1);
    const equals = record.indexOf('=');
    if (blank < 0 || !(lengthBytes > 0) || equals < 0) throw new SyntaxError('a PAX record of the tar is malformed');
    overrides = { ...overrides, ...pathRecords[record.slice(0, equals)]?.(record.slice(equals + 1)) };
    offset += lengthBytes;
  }
  return overrides;
}

function memberType({ typeFlag, name }: Header): TarMember['type'] {
  if (typeFlag === '5' || ('0\0'.includes(typeFlag) && name.endsWith('/'))) return 'directory';
  if ('0\x007'.includes(typeFlag)) return 'file';
  if ('12'.includes(typeFlag)) return 'link';
  throw new SyntaxError(`the tar member ${name} has the type "${typeFlag}", which no backup holds`);
}

function parseHeader(block: Buffer): Header {
  assertChecksum(block);
  const isPosix = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isPosix ? untilNul(block.subarray(345, 500), 'utf8') : '';
  const name = untilNul(block.subarray(0, 100), 'utf8');
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    typeFlag: block.toString('latin1', 156, 157),
    mode: parseNumber(block.subarray(100, 108)),
    sizeBytes: parseNumber(block.subarray(124, 136)),
  };
}

function assertChecksum(block: Buffer): void {
  const expected = parseNumber(block.subarray(148, 156));
  let sum = 8 * 0x20;
  for (let index = 0; index < tarBlockBytes; index += 1) sum += index >= 148 && index < 156 ? 0 : (block[index] ?? 0);
  if (sum !== expected) throw new SyntaxError('a tar header has a wrong checksum');
}

/** Octal digits, or GNU's base-256, which the top bit of the first byte announces. */
function parseNumber(field: Buffer): number {
  const first = field[0] ?? 0;
  if ((first & 0x80) !== 0) {
    const value = field.subarray(1).reduce((total, byte) => total * 256 + byte, first & 0x7f);
    if (!Number.isSafeInteger(value)) throw new SyntaxError('a number in a tar header is too large');
    return value;
  }
  const digits = untilNul(field, 'latin1').trim();
  if (!/^[0-7]*$/.test(digits)) throw new SyntaxError('a number in a tar header is not octal');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function untilNul(field: Buffer, encoding: 'utf8' | 'latin1'): string {
  const end = field.indexOf(0);
  return field.toString(encoding, 0, end < 0 ? field.length : end);
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}
