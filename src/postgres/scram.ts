/**
 * Password verifiers as PostgreSQL stores them in pg_authid.rolpassword (manual, section 53.8; RFC 5803; src/common/scram-common.c). Computing
 * them here keeps the clear text out of every statement and so out of every log (postgres-recovery.md, M19).
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

/** How to compute a verifier. */
export interface ScramOptions {
  /** Default: 16 random bytes. */
  readonly salt?: Buffer;
  /** Default 4096, PostgreSQL's own. */
  readonly iterations?: number;
}

const saltBytes = 16;
const keyBytes = 32;
const defaultIterations = 4096;
/** More would let a stored verifier keep the agent busy; PostgreSQL's own default is 4096. */
const iterationsMaximum = 10_000_000;
const scramPattern = /^SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/;

/** `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, which ALTER ROLE … PASSWORD stores as it is. */
export function computeScramVerifier(password: string, options: ScramOptions = {}): string {
  const salt = options.salt ?? randomBytes(saltBytes);
  const iterations = options.iterations ?? defaultIterations;
  const salted = pbkdf2Sync(prepared(password), salt, iterations, keyBytes, 'sha256');
  const storedKey = createHash('sha256').update(hmac(salted, 'Client Key')).digest('base64');
  const serverKey = hmac(salted, 'Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}

/**
 * Would PostgreSQL let this password in?
 * @param verifier rolpassword: SCRAM or MD5; null, or anything else, matches no password
 * @param roleName the role's name, which salts an MD5 hash
 */
export function passwordMatchesVerifier(password: string, verifier: string | null, roleName: string): boolean {
  if (verifier === null) return false;
  const [, iterations, salt] = scramPattern.exec(verifier) ?? [];
  if (iterations === undefined || salt === undefined) return sameText(md5Verifier(password, roleName), verifier);
  if (Number(iterations) < 1 || Number(iterations) > iterationsMaximum) return false;
  return sameText(computeScramVerifier(password, { salt: Buffer.from(salt, 'base64'), iterations: Number(iterations) }), verifier);
}

/** Is it an MD5 hash, which is salted with the role's name? */
export function isMd5Verifier(verifier: string | null): boolean {
  return verifier !== null && /^md5[0-9a-f]{32}$/.test(verifier);
}

function md5Verifier(password: string, roleName: string): string {
  return `md5${createHash('md5').update(`${password}${roleName}`).digest('hex')}`;
}

const nonAsciiSpaces = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
// oxlint-disable-next-line no-misleading-character-class -- each of these stands for itself
const mappedToNothing = /[\u00ad\u034f\u1806\u180b\u180c\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/g;

/**
 * SASLprep (RFC 4013) as far as it changes real passwords: spaces, invisible characters, NFKC. PostgreSQL takes a password with prohibited or
 * unassigned code points as it is; such a password may come out different here, and should not be chosen.
 */
function prepared(password: string): string {
  if (/^[\u0020-\u007e]*$/.test(password)) return password;
  return password.replaceAll(nonAsciiSpaces, ' ').replaceAll(mappedToNothing, '').normalize('NFKC');
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
