/**
 * Headers of tar archives: ustar (POSIX.1-1988), and PAX records (POSIX.1-2001, pax, "pax Extended Header") where ustar has no room: names over
 * 100 bytes or beyond ASCII, and files over 8 GiB. WAL-G's members begin with a slash and its archives end with exactly two zero blocks.
 */

export const tarBlockBytes = 512;

/** Two zero blocks end an archive. */
export const tarEnd: Buffer = Buffer.alloc(2 * tarBlockBytes);

/** A file or directory to be written. */
export interface TarEntry {
  readonly name: string;
  readonly type: 'file' | 'directory';
  /** Permission bits. */
  readonly mode: number;
  /** Bytes of content that follow; 0 for a directory. */
  readonly sizeBytes: number;
  /** Whole seconds since 1970. */
  readonly changedSeconds: number;
}

const nameFieldBytes = 100;
/** Eleven octal digits. */
const ustarMaximumNumber = 0o77777777777;

/** The blocks in front of an entry's content: a ustar header, after PAX records when it needs them. */
export function tarHeader(entry: TarEntry): Buffer {
  const records = paxRecords(entry);
  const typeFlag = entry.type === 'directory' ? '5' : '0';
  const fields = { ...entry, typeFlag };
  if (records === '') return ustarHeader(fields);
  const content = Buffer.from(records);
  const extension = ustarHeader({ ...fields, name: 'PaxHeaders.0/member', typeFlag: 'x', sizeBytes: content.length, mode: 0o644 });
  return Buffer.concat([
    extension,
    content,
    Buffer.alloc(tarPaddingBytes(content.length)),
    ustarHeader({ ...fields, name: shortened(entry.name) }),
  ]);
}

/** How many zero bytes follow a content of that size. */
export function tarPaddingBytes(sizeBytes: number): number {
  return (tarBlockBytes - (sizeBytes % tarBlockBytes)) % tarBlockBytes;
}

function paxRecords({ name, sizeBytes }: TarEntry): string {
  const needsName = Buffer.byteLength(name) > nameFieldBytes || !isAscii(name);
  return (needsName ? paxRecord('path', name) : '') + (sizeBytes > ustarMaximumNumber ? paxRecord('size', String(sizeBytes)) : '');
}

/** `<length> <key>=<value>\n`, where the length counts its own digits. */
function paxRecord(key: string, value: string): string {
  const restBytes = Buffer.byteLength(` ${key}=${value}\n`);
  let lengthBytes = restBytes + String(restBytes).length;
  if (restBytes + String(lengthBytes).length > lengthBytes) lengthBytes += 1;
  return `${lengthBytes} ${key}=${value}\n`;
}

/** What a reader without PAX would see. */
function shortened(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, '_').slice(0, nameFieldBytes);
}

function isAscii(name: string): boolean {
  return /^[\x20-\x7e]*$/.test(name);
}

/** Field offsets of POSIX.1-1988's `ustar Interchange Format`. */
function ustarHeader(fields: Omit<TarEntry, 'type'> & { readonly typeFlag: string }): Buffer {
  const block = Buffer.alloc(tarBlockBytes);
  block.write(fields.name, 0, nameFieldBytes, 'latin1');
  writeOctal(block, 100, { digitCount: 7, value: fields.mode });
  writeOctal(block, 108, { digitCount: 7, value: 0 });
  writeOctal(block, 116, { digitCount: 7, value: 0 });
  writeOctal(block, 124, { digitCount: 11, value: fields.sizeBytes > ustarMaximumNumber ? 0 : fields.sizeBytes });
  writeOctal(block, 136, { digitCount: 11, value: Math.min(Math.max(0, fields.changedSeconds), ustarMaximumNumber) });
  block.write(fields.typeFlag, 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  writeChecksum(block);
  return block;
}

function writeOctal(block: Buffer, offset: number, { digitCount, value }: { readonly digitCount: number; readonly value: number }): void {
  block.write(value.toString(8).padStart(digitCount, '0'), offset, 'latin1');
}

/** Sum of all bytes, with the checksum's own eight counted as blanks. */
function writeChecksum(block: Buffer): void {
  block.fill(' ', 148, 156);
  let sum = 0;
  for (let index = 0; index < tarBlockBytes; index += 1) sum += block[index] ?? 0;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}
