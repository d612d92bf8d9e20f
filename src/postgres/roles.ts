/**
 * Replacing the roles of a restored cluster before clients come back (design.md, section 4, rule 8): whoever knew a password of the source must
 * not get into the copy. The work is done by a temporary superuser, because a session cannot rename its own role, and in one transaction, so
 * that an interruption leaves either the old roles or the new ones. The transaction also marks the temporary role; before that role goes, the
 * caller's record says that it is done. So every attempt knows whether an earlier one has committed, whatever it changed.
 */
import { WalkbackError } from '../domain/errors.ts';
import { type ConnectOptions, connectServer, isAuthenticationRefused, type ServerConnection } from './connection.ts';
import { computeScramVerifier, isMd5Verifier, passwordMatchesVerifier } from './scram.ts';

/** A role of the source that gets a new name, a new password, or both. */
export interface RoleReplacement {
  readonly role: string;
  /** The same as `role`: only the password is new. */
  readonly newName: string;
  /** Clear text, in memory only; undefined: the stored verifier stays, under another name. */
  readonly password: string | undefined;
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
  readonly record: SwapRecord;
}

/** Where the caller remembers, durably, that the roles of this cluster are swapped. */
export interface SwapRecord {
  isDone(): Promise<boolean>;
  setDone(): Promise<void>;
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
/** A commit that a crash takes back must not be recorded as done. */
const durability = 'synchronous_commit = on';
const swappedMark = 'walkback: roles are swapped';

/**
 * Swaps the roles. Every step leads to a wanted state, so the call may be repeated after an interruption at any point.
 * @throws WalkbackError ROLE_SWAP_FAILED, POSTGRES_UNREACHABLE, POSTGRES_ACCESS_DENIED
 */
export async function swapRoles(options: SwapRolesOptions): Promise<SwappedRoles> {
  assertNames(options);
  await createTemporaryRole(options);
  const swapped = await replaceRoles(options);
  await options.record.setDone();
  await dropTemporaryRole(options);
  return swapped;
}

/** Makes the temporary superuser, or makes one that was left by an interruption fit again. */
async function createTemporaryRole(options: SwapRolesOptions): Promise<void> {
  await using admin = await connectAsAdmin(options);
  const name = quoteIdentifier(options.temporaryRole);
  const verb = (await roleOf(admin, options.temporaryRole)) === undefined ? 'CREATE' : 'ALTER';
  await admin.query(`${verb} ROLE ${name} SUPERUSER LOGIN`);
}

/** Renames, sets passwords and locks, all or nothing; what an earlier attempt has committed is only told. */
async function replaceRoles(options: SwapRolesOptions): Promise<SwappedRoles> {
  await using connection = await connectServer({ ...options.server, user: options.temporaryRole });
  for (const setting of [...silence, durability]) await connection.query(`SET ${setting}`);
  await connection.query('START TRANSACTION READ WRITE');
  if (!(await options.record.isDone()) && !(await isMarked(connection, options.temporaryRole))) {
    for (const replacement of options.roles) await replaceRole(connection, replacement);
    if (options.otherLoginRoles === 'lock') await lockOthers(connection, options);
    await connection.query(`COMMENT ON ROLE ${quoteIdentifier(options.temporaryRole)} IS ${quoteLiteral(swappedMark)}`);
  }
  const locked = await lockedRoles(connection, options);
  await connection.query('COMMIT');
  return { renamed: options.roles.map(({ role, newName }) => ({ role, newName })), locked };
}

async function isMarked(connection: ServerConnection, role: string): Promise<boolean> {
  const rows = await connection.query(`SELECT 1 FROM pg_authid WHERE rolname = $1 AND shobj_description(oid, 'pg_authid') = $2`, [
    role,
    swappedMark,
  ]);
  return rows.length > 0;
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
    const password = renamed.password === undefined ? {} : { password: renamed.password };
    return await connectServer({ ...options.server, user: renamed.newName, ...password });
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
  const isRenamed = role !== newName;
  const [old, taken] = [await roleOf(connection, role), isRenamed ? await roleOf(connection, newName) : undefined];
  if (old === undefined) throw swapFailed(`the role "${role}" does not exist`, { role });
  if (taken !== undefined) throw swapFailed(`a role "${newName}" exists already`, { newName });
  assertPasswordDiffers(replacement, old);
  if (isRenamed) await connection.query(`ALTER ROLE ${quoteIdentifier(role)} RENAME TO ${quoteIdentifier(newName)}`);
  if (password === undefined) return;
  const verifier = quoteLiteral(computeScramVerifier(password));
  await connection.query(`ALTER ROLE ${quoteIdentifier(newName)} WITH LOGIN PASSWORD ${verifier} VALID UNTIL 'infinity'`);
}

/** An MD5 hash is salted with the role's name, so PostgreSQL clears it when the role is renamed (postgres-recovery.md, M18). */
function assertPasswordDiffers(replacement: RoleReplacement, old: StoredRole): void {
  const { role, newName, password, oldPassword } = replacement;
  if (password === undefined && isMd5Verifier(old.verifier)) {
    throw swapFailed(
      `the password of "${role}" is stored as an MD5 hash, which a new name makes useless`,
      { role },
      `Give "${newName}" a new password, or keep the name.`,
    );
  }
  if (password === undefined) return;
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
  const names = [options.temporaryRole, ...options.roles.flatMap(({ role, newName }) => (role === newName ? [role] : [role, newName]))];
  const wrong = names.find((name, index) => name === '' || Buffer.byteLength(name) > nameBytesMaximum || names.indexOf(name) !== index);
  if (wrong !== undefined) throw swapFailed(`the name "${wrong}" occurs twice, is empty, or has more than ${nameBytesMaximum} bytes`, {});
  const idle = options.roles.find(({ role, newName, password }) => role === newName && password === undefined);
  if (idle !== undefined) throw swapFailed(`nothing is to change about "${idle.role}"`, { role: idle.role });
  const admin = options.roles.find(({ role, password }) => role === options.adminRole && password === undefined);
  if (admin !== undefined)
    throw swapFailed(
      `"${admin.role}" is the superuser that does the work, and could not log in under its new name`,
      { role: admin.role },
      'Give it a new password too.',
    );
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
