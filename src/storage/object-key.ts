/** What a key and user metadata may be, the same for every store. */
import { WalkbackError } from '../domain/errors.ts';

/** S3's limit on a key, prefix included (UTF-8 bytes). */
const keyMaximumBytes = 1024;
/** S3's limit on user metadata, names and values together. */
const metadataMaximumBytes = 2048;

const metadataNamePattern = /^[a-z0-9][a-z0-9-]*$/;
const metadataValuePattern = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/** Refuses a key that some store could not hold: empty parts, `.` and `..`, control characters, over 1024 bytes. @throws WalkbackError INVALID_REQUEST */
export function requireKey(key: string): void {
  const reason = whyNotAKey(key);
  if (reason === undefined) return;
  throw new WalkbackError('INVALID_REQUEST', `${JSON.stringify(key)} cannot be the key of an object: ${reason}.`, {
    hint: 'Use names separated by single slashes, without a slash at either end.',
    facts: { key },
  });
}

/** Refuses metadata that a header could not carry unchanged. @throws WalkbackError INVALID_REQUEST */
export function requireMetadata(metadata: Readonly<Record<string, string>> | undefined): void {
  let sizeBytes = 0;
  for (const [name, value] of Object.entries(metadata ?? {})) {
    sizeBytes += name.length + value.length;
    if (!metadataNamePattern.test(name) || !metadataValuePattern.test(value)) {
      throw new WalkbackError('INVALID_REQUEST', `${JSON.stringify(name)}: ${JSON.stringify(value)} cannot be metadata of an object.`, {
        hint: 'Names are lower-case letters, digits and hyphens; values are printable ASCII without blanks at either end.',
      });
    }
  }
  if (sizeBytes > metadataMaximumBytes) {
    throw new WalkbackError('INVALID_REQUEST', `The metadata of an object has ${sizeBytes} bytes; ${metadataMaximumBytes} are allowed.`);
  }
}

/** Orders keys by their UTF-8 bytes, as S3 lists them. JavaScript's `<` orders by UTF-16 units, which differs beyond U+FFFF. */
export function compareKeys(left: string, right: string): number {
  const sharedCount = Math.min(left.length, right.length);
  for (let at = 0; at < sharedCount; at++) {
    const leftUnit = left.charCodeAt(at);
    const rightUnit = right.charCodeAt(at);
    if (leftUnit !== rightUnit) return utf8Rank(leftUnit) - utf8Rank(rightUnit);
  }
  return left.length - right.length;
}

/** Moves surrogates behind U+E000…U+FFFF, where UTF-8 has the characters they stand for. */
function utf8Rank(unit: number): number {
  if (unit >= 0xe000) return unit - 0x800;
  return unit >= 0xd800 ? unit + 0x2000 : unit;
}

function whyNotAKey(key: string): string | undefined {
  if (Buffer.byteLength(key) > keyMaximumBytes) return `it is longer than ${keyMaximumBytes} bytes`;
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for: XML listings cannot carry them.
  if (/[\u0000-\u001f\u007f]/.test(key)) return 'it holds a control character';
  const parts = key.split('/');
  if (parts.includes('')) return 'it has an empty part';
  return parts.includes('.') || parts.includes('..') ? 'it has a part . or ..' : undefined;
}
