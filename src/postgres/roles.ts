/**
 * Replacing the roles of a restored cluster before clients come back (design.md, section 4, rule 8): whoever knew a password of the source must
 * not get into the copy. The work is done by a temporary superuser, because a session cannot rename its own role, and in one transaction, so
 * that an interruption leaves either the old roles or the new ones.
 */
import { WalkbackError } from '../domain/errors.ts';
import { type ConnectOptions, connectServer, isAuthenticationRefused, type ServerConnection } from './connection.ts';
import { computeScramVerifier, passwordMatchesVerifier } from './scram.ts';

/** A role of the source that gets a new name and password. */
export interface RoleReplacement {
  readonly role: string;
  /** Differs from `role`. */
  readonly newName: string;
  /** Clear text, in memory only. */
  readonly password: string;
  /** Clear text, in memory only; with it the refusal is proved by a login. */
  readonly oldPassword?: string;
}

/** What to swap, and how to get in. */
export interface SwapRolesOptions {
  /** The private socket on which pg_hba.conf trusts the admin and the temporary role. */
  readonly server: Omit<ConnectOptions, 'user' | 'password'>;
  /** Superuser of the source. */
  readonly adminRole: string;
  /** Begins with `temporaryRolePrefix`. */
  readonly temporaryRole: string;
  readonly roles: readonly RoleReplacement[];
  /** `lock`: nobody else can log in with a password of the source; `keep`: the others stay as they are. */
  readonly otherLoginRoles: 'lock' | 'keep';
}

/** What was done. */
export interface SwappedRoles {
  readonly renamed: readonly { readonly role: string; readonly newName: string }[];
  /** Roles that keep their old password's owner out: NOLOGIN, or superusers without a password. */
  readonly locked: readonly string[];
}

/** Names of temporary roles begin with it, so that a role of the source is never taken for one. */
export const temporaryRolePrefix = 'walkback_tmp_';

/** How many bytes of a name PostgreSQL keeps (NAMEDATALEN - 1). */
const nameBytesMaximum = 63;

/** Statements with a verifier in them must not reach the log, whatever the cluster's, database's or role's settings are. */
const silence = [
  'log_statement = none',
  'log_min_duration_statement = -1',
  'log_min_duration_sample = -1',
  'log_duration = off',
  'log_min_error_statement = panic',
];

/**
 * Swaps the roles. Every step leads to a wanted state, so the call may be repeated after an interruption at any point.
 * @throws WalkbackError ROLE_SWAP_FAILED, POSTGRES_UNREACHABLE, POSTGRES_ACCESS_DENIED
 */
export async function swapRoles(options: SwapRolesOptions): Promise<SwappedRoles> {
  assertNames(options);
  await createTemporaryRole(options);
  const swapped = await replaceRoles(options);
  await dropTemporaryRole(options);
  return swapped;
}

/** Makes the temporary superuser, or makes one that was left by an interruption fit again. */
export async function createTemporaryRole(options: SwapRolesOptions): Promise<void> {
  await using admin = await connectAsAdmin(options);
  const name = quoteIdentifier(options.temporaryRole);
  const verb = (await roleOf(admin, options.temporaryRole)) === undefined ? 'CREATE' : 'ALTER';
  await admin.query(`${verb} ROLE ${name} SUPERUSER LOGIN`);
}

/** Renames, sets passwords and locks, all or nothing. */
export async function replaceRoles(options: SwapRolesOptions): Promise<SwappedRoles> {
  await using connection = await connectServer({ ...options.server, user: options.temporaryRole });
  for (const setting of silence) await connection.query(`SET ${setting}`);
  await connection.query('START TRANSACTION READ WRITE');
  for (const replacement of options.roles) await replaceRole(connection, replacement);
  if (options.otherLoginRoles === 'lock') await lockOthers(connection, options);
  const locked = await lockedRoles(connection, options);
  await connection.query('COMMIT');
  return { renamed: options.roles.map(({ role, newName }) => ({ role, newName })), locked };
}

async function dropTemporaryRole(options: SwapRolesOptions): Promise<void> {
  await using admin = await connectAsAdmin(options);
  await admin.query(`DROP ROLE IF EXISTS ${quoteIdentifier(options.temporaryRole)}`);
}

/** The admin may be one of the renamed, by this run or one before it: then it has a password, and its new name is not trusted. */
async function connectAsAdmin(options: SwapRolesOptions): Promise<ServerConnection> {
  const renamed = options.roles.find((replacement) => replacement.role === options.adminRole);
  try {
    return await connectServer({ ...options.server, user: options.adminRole });
  } catch (error) {
    if (renamed === undefined || !isAuthenticationRefused(error)) throw error;
    return await connectServer({ ...options.server, user: renamed.newName, password: renamed.password });
  }
}

interface StoredRole {
  readonly name: string;
  readonly verifier: string | null;
}

async function roleOf(connection: ServerConnection, name: string): Promise<StoredRole | undefined> {
  const [row] = await connection.query<StoredRole>('SELECT rolname AS name, rolpassword AS verifier FROM pg_authid WHERE rolname = $1', [
    name,
  ]);
  return row;
}

async function replaceRole(connection: ServerConnection, replacement: RoleReplacement): Promise<void> {
  const { role, newName, password } = replacement;
  const [old, renamed] = [await roleOf(connection, role), await roleOf(connection, newName)];
  if (old === undefined && renamed !== undefined && passwordMatchesVerifier(password, renamed.verifier, newName)) {
    // An earlier run got this far and committed, and it would not have with an unchanged password.
    return;
  }
  if (old === undefined) throw swapFailed(`the role "${role}" does not exist`, { role });
  if (renamed !== undefined) throw swapFailed(`a role "${newName}" exists already`, { newName });
  assertPasswordDiffers(replacement, old);
  await connection.query(`ALTER ROLE ${quoteIdentifier(role)} RENAME TO ${quoteIdentifier(newName)}`);
  const verifier = quoteLiteral(computeScramVerifier(password));
  await connection.query(`ALTER ROLE ${quoteIdentifier(newName)} WITH LOGIN PASSWORD ${verifier} VALID UNTIL 'infinity'`);
}

function assertPasswordDiffers(replacement: RoleReplacement, old: StoredRole): void {
  const { role, password, oldPassword } = replacement;
  if (password !== oldPassword && !passwordMatchesVerifier(password, old.verifier, role)) return;
  throw swapFailed(`the new password of "${role}" is the old one`, { role }, 'Choose a password that nobody has known.');
}

/** Others that can log in: not the new roles, not the admin itself (reachable only over the private socket), not the temporary one. */
const othersSql = `FROM pg_authid WHERE rolname <> ALL ($1::text[]) AND rolname NOT LIKE 'pg\\_%'`;

async function lockOthers(connection: ServerConnection, options: SwapRolesOptions): Promise<void> {
  const others = await connection.query<{ name: string; superuser: boolean }>(
    `SELECT rolname AS name, rolsuper AS superuser ${othersSql} AND rolcanlogin`,
    [[...newNames(options), options.temporaryRole]],
  );
  for (const other of others) {
    // A superuser may be needed to repair the cluster over the private socket, so it loses its password and not its right to log in.
    const change = other.superuser || other.name === options.adminRole ? 'PASSWORD NULL' : 'NOLOGIN';
    await connection.query(`ALTER ROLE ${quoteIdentifier(other.name)} ${change}`);
  }
}

/** Told by what is stored, so that a repeated call gives the same answer. */
async function lockedRoles(connection: ServerConnection, options: SwapRolesOptions): Promise<string[]> {
  if (options.otherLoginRoles === 'keep') return [];
  const rows = await connection.query<{ name: string }>(
    `SELECT rolname AS name ${othersSql}
       AND ((NOT rolcanlogin AND rolpassword IS NOT NULL) OR (rolcanlogin AND rolsuper AND rolpassword IS NULL)) ORDER BY rolname`,
    [[...newNames(options), options.temporaryRole, options.adminRole]],
  );
  return rows.map((row) => row.name);
}

function newNames(options: SwapRolesOptions): string[] {
  return options.roles.map((replacement) => replacement.newName);
}

function assertNames(options: SwapRolesOptions): void {
  if (!options.temporaryRole.startsWith(temporaryRolePrefix)) {
    throw swapFailed(`the temporary role "${options.temporaryRole}" does not begin with ${temporaryRolePrefix}`, {});
  }
  const names = [options.temporaryRole, ...options.roles.flatMap(({ role, newName }) => [role, newName])];
  const wrong = names.find((name, index) => name === '' || Buffer.byteLength(name) > nameBytesMaximum || names.indexOf(name) !== index);
  if (wrong !== undefined) throw swapFailed(`the name "${wrong}" occurs twice, is empty, or has more than ${nameBytesMaximum} bytes`, {});
  const empty = options.roles.find((replacement) => replacement.password === '');
  if (empty !== undefined) throw swapFailed(`the new password of "${empty.role}" is empty`, { role: empty.role });
}

function swapFailed(why: string, facts: Readonly<Record<string, string>>, hint?: string): WalkbackError {
  return new WalkbackError('ROLE_SWAP_FAILED', `The roles cannot be swapped: ${why}.`, { facts, ...(hint === undefined ? {} : { hint }) });
}

function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Only for verifiers, which hold no apostrophe or backslash; ALTER ROLE takes no parameters. */
function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
