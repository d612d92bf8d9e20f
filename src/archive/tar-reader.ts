/**
 * Reads tar archives as they are found: ustar, PAX (POSIX.1-2001), GNU long names and base-256 sizes, old tars whose directories end with a slash,
 * archives without end blocks or final padding (WAL-G's remote backups). What cannot be understood is an error, never skipped.
 */
import { ByteSource } from './byte-source.ts';
import { tarBlockBytes, tarPaddingBytes } from './tar-writer.ts';

/** A member of an archive. The body must be read to its end before the next member is asked for; what is left of it is skipped. */
export interface TarMember {
  readonly name: string;
  readonly type: 'file' | 'directory' | 'link';
  readonly mode: number;
  readonly sizeBytes: number;
  readonly body: AsyncIterable<Buffer>;
}

/** PAX records and GNU long names: names, not contents. */
const maximumExtensionBytes = 1024 * 1024;

/** The members in the order of the archive. @throws SyntaxError when the bytes are not a whole tar archive */
export async function* readTar(chunks: AsyncIterable<Buffer>): AsyncGenerator<TarMember> {
  const source = new ByteSource(chunks);
  try {
    let overrides: HeaderOverrides = {};
    for (;;) {
      const block = await source.take(tarBlockBytes);
      if (block === undefined || isZero(block)) break;
      const header = parseHeader(block);
      const extension = await readExtension(source, header);
      if (extension === undefined) {
        yield* readMember(source, { ...header, ...overrides });
        overrides = {};
      } else overrides = { ...overrides, ...extension };
    }
    await assertOnlyZeros(source);
  } finally {
    await source.close();
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

async function* readMember(source: ByteSource, header: Header): AsyncGenerator<TarMember> {
  const type = memberType(header);
  const sizeBytes = type === 'file' ? header.sizeBytes : 0;
  const body = new MemberBody(source, { name: header.name, sizeBytes });
  yield { name: header.name, type, mode: header.mode & 0o7777, sizeBytes, body };
  await body.skipRest();
  await source.skipPadding(tarPaddingBytes(sizeBytes));
}

/** A member's content, in the pieces that the source holds. */
class MemberBody implements AsyncIterable<Buffer> {
  #leftBytes: number;
  readonly #source: ByteSource;
  readonly #name: string;

  constructor(source: ByteSource, { name, sizeBytes }: { readonly name: string; readonly sizeBytes: number }) {
    this.#source = source;
    this.#name = name;
    this.#leftBytes = sizeBytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    while (this.#leftBytes > 0) {
      const piece = await this.#source.piece(this.#leftBytes);
      if (piece === undefined) throw new SyntaxError(`the tar ends ${this.#leftBytes} bytes before the end of ${this.#name}`);
      this.#leftBytes -= piece.length;
      yield piece;
    }
  }

  async skipRest(): Promise<void> {
    for await (const _piece of this);
  }
}

const pathRecords: Readonly<Record<string, (value: string) => HeaderOverrides>> = {
  path: (value) => ({ name: value }),
  size: (value) => ({ sizeBytes: Number(value) }),
};

/** @returns undefined when the header is a member's own */
async function readExtension(source: ByteSource, header: Header): Promise<HeaderOverrides | undefined> {
  if (!'xgLK'.includes(header.typeFlag)) return undefined;
  if (header.sizeBytes > maximumExtensionBytes) throw new SyntaxError(`a tar extension header of ${header.sizeBytes} bytes`);
  const content = await source.take(header.sizeBytes);
  if (content === undefined && header.sizeBytes > 0) throw new SyntaxError('the tar ends within an extension header');
  await source.skipPadding(tarPaddingBytes(header.sizeBytes));
  if (header.typeFlag === 'L') return { name: untilNul(content ?? Buffer.alloc(0), 'utf8') };
  return header.typeFlag === 'x' ? parsePaxRecords(content ?? Buffer.alloc(0)) : {};
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

/** wal-g: internal/extract.go, readTrailingZeros. */
async function assertOnlyZeros(source: ByteSource): Promise<void> {
  for (let piece = await source.piece(tarBlockBytes); piece !== undefined; piece = await source.piece(tarBlockBytes)) {
    if (!isZero(piece)) throw new SyntaxError('something other than zeros follows the end of the tar');
  }
}
