/** Proof, by logging in, that swapped roles are what they should be: the new password opens, and nothing that was valid before does. */
import { randomBytes } from 'node:crypto';
import { WalkbackError } from '../domain/errors.ts';
import { type ConnectOptions, connectServer, isAuthenticationRefused, sqlStateOf } from './connection.ts';
import type { RoleReplacement } from './roles.ts';
import { passwordMatchesVerifier } from './scram.ts';

/** What to prove. */
export interface ProveCredentialsOptions {
  readonly server: Omit<ConnectOptions, 'user' | 'password'>;
  /** A superuser who can read the stored verifiers: the admin on the trusted socket, or under its new name with its new password. */
  readonly reader: Pick<ConnectOptions, 'user' | 'password'>;
  readonly roles: readonly RoleReplacement[];
}

/** What was proved for a role. */
export interface CredentialsProof {
  readonly role: string;
  readonly newName: string;
  /** False only where the password was to be kept. */
  readonly oldPasswordRefused: boolean;
  /** `login-attempt`: the old password was tried; `verifier-comparison`: only the new password fits what is stored; `kept`: it is the old one, as asked. */
  readonly proof: 'login-attempt' | 'verifier-comparison' | 'kept';
}

/** Raised after authentication has succeeded: no CONNECT privilege, too many sessions. */
const authenticatedStates: ReadonlySet<string> = new Set(['42501', '53300']);

/**
 * Proves each role. Safe to repeat.
 * @throws WalkbackError ROLE_SWAP_FAILED when anything is not as it should be, POSTGRES_UNREACHABLE
 */
export async function proveCredentials(options: ProveCredentialsOptions): Promise<CredentialsProof[]> {
  const proofs: CredentialsProof[] = [];
  for (const replacement of options.roles) proofs.push(await proveRole(options, replacement));
  return proofs;
}

async function proveRole(options: ProveCredentialsOptions, replacement: RoleReplacement): Promise<CredentialsProof> {
  const { role, newName, password, oldPassword } = replacement;
  if (password === undefined) {
    await expectLogin(options, { user: role, password: randomBytes(16).toString('hex'), opens: false, what: 'the old name' });
    return { role, newName, oldPasswordRefused: false, proof: 'kept' };
  }
  const isTrusted = newName === options.reader.user && options.reader.password === undefined;
  // A password made up on the spot must be refused, or else the server asks for none and the other attempts prove nothing.
  if (!isTrusted)
    await expectLogin(options, { user: newName, password: randomBytes(16).toString('hex'), opens: false, what: 'a made-up password' });
  if (!isTrusted) await expectLogin(options, { user: newName, password, opens: true, what: 'the new password' });
  if (role !== newName) await expectLogin(options, { user: role, password: oldPassword ?? password, opens: false, what: 'the old name' });
  if (oldPassword !== undefined && !isTrusted) {
    await expectLogin(options, { user: newName, password: oldPassword, opens: false, what: 'the old password' });
    return { role, newName, oldPasswordRefused: true, proof: 'login-attempt' };
  }
  await expectStoredVerifier(options, newName, password);
  return { role, newName, oldPasswordRefused: true, proof: 'verifier-comparison' };
}

interface LoginAttempt {
  readonly user: string;
  readonly password: string;
  readonly opens: boolean;
  readonly what: string;
}

async function expectLogin(options: ProveCredentialsOptions, attempt: LoginAttempt): Promise<void> {
  const opened = await tryLogin({ ...options.server, user: attempt.user, password: attempt.password });
  if (opened === attempt.opens) return;
  throw notProved(attempt.user, `${attempt.what} is ${opened ? 'accepted' : 'refused'}`);
}

async function tryLogin(server: ConnectOptions): Promise<boolean> {
  try {
    await using connection = await connectServer(server);
    await connection.query('SELECT 1');
    return true;
  } catch (error) {
    if (isAuthenticationRefused(error)) return false;
    if (authenticatedStates.has(sqlStateOf(error) ?? '')) return true;
    throw error;
  }
}

/** A verifier fits one password: when it is the new one, it is no other. */
async function expectStoredVerifier(options: ProveCredentialsOptions, newName: string, password: string): Promise<void> {
  await using connection = await connectServer({ ...options.server, ...options.reader });
  const [row] = await connection.query<{ verifier: string | null }>('SELECT rolpassword AS verifier FROM pg_authid WHERE rolname = $1', [
    newName,
  ]);
  const ours = row?.verifier?.startsWith('SCRAM-SHA-256$') === true && passwordMatchesVerifier(password, row.verifier, newName);
  if (!ours) throw notProved(newName, 'the stored verifier is not of the new password');
}

function notProved(role: string, why: string): WalkbackError {
  return new WalkbackError('ROLE_SWAP_FAILED', `The credentials of "${role}" are not as they should be: ${why}.`, { facts: { role } });
}
