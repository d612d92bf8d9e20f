/**
 * JSON documents of ours end with the SHA-256 of what stands before: `,"WalkbackSha256":"…"}`. WAL-G ignores the member, and drops it when it
 * rewrites a document (backup-mark); without it there is nothing to check.
 */
import { createHash } from 'node:crypto';

const sealPattern = /,"WalkbackSha256":"([0-9a-f]{64})"\}$/;

/** Appends the seal to the text of a JSON object that has members. */
export function sealJson(text: string): string {
  return `${text.slice(0, -1)},"WalkbackSha256":"${digest(text)}"}`;
}

/** The text without its seal. @throws SyntaxError when the text is not what was sealed */
export function unsealJson(text: string): string {
  const [seal, expected] = sealPattern.exec(text) ?? [];
  if (seal === undefined) return text;
  const content = `${text.slice(0, -seal.length)}}`;
  if (digest(content) !== expected) throw new SyntaxError(`its content is not the one that its SHA-256 ${expected} was made of`);
  return content;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
