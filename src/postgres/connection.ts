/** One session with a PostgreSQL server, told everything explicitly: PG* variables and ~/.pgpass of the process never take part. */
import { Socket } from 'node:net';
import { Client, type ClientConfig, DatabaseError, type QueryArrayConfig } from 'pg';
import { WalkbackError } from '../domain/errors.ts';

/** Where and as whom to log in. */
export interface ConnectOptions {
  /** Directory of the unix socket, or an address. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /** Only held in memory. Default: none, for trust and peer. */
  readonly password?: string;
  /** As pg_stat_activity shows it. Default: walkback */
  readonly applicationName?: string;
  /** Default: 10 seconds. */
  readonly connectTimeoutMs?: number;
  /** Bound of every statement, by the server. Default: 60 seconds. */
  readonly statementTimeoutMs?: number;
  /** Ends the session, whatever it does. */
  readonly signal?: AbortSignal;
}

/** A session. Disposing of it ends it. */
export interface ServerConnection extends AsyncDisposable {
  /**
   * Runs one statement.
   * @throws WalkbackError STATEMENT_FAILED when the server refuses it, POSTGRES_UNREACHABLE when the session is gone
   */
  query<Row extends object>(sql: string, params?: readonly unknown[]): Promise<Row[]>;
  /**
   * First column of the first row of a single statement, as PostgreSQL prints it; null for SQL's NULL or no row.
   * @throws WalkbackError as `query` does
   */
  queryFirstValue(sql: string): Promise<string | null>;
}

const defaultConnectTimeoutMs = 10_000;
const defaultStatementTimeoutMs = 60_000;
const endTimeoutMs = 2_000;

/** invalid_authorization_specification and invalid_password (manual, appendix A). */
const refusalStates: ReadonlySet<string> = new Set(['28000', '28P01']);

/**
 * The session's settings are ours: a role's or a database's own (ALTER ROLE … SET) must not change how we read a time. What stands in
 * `options` wins over those.
 */
const sessionOptions = '-c TimeZone=UTC -c DateStyle=ISO,YMD -c default_transaction_read_only=off';

/**
 * Logs in.
 * @throws WalkbackError POSTGRES_ACCESS_DENIED when the login is refused, POSTGRES_UNREACHABLE for everything else, the reason of an aborted signal
 */
export async function connectServer(options: ConnectOptions): Promise<ServerConnection> {
  options.signal?.throwIfAborted();
  const socket = new Socket();
  const client = new Client(clientConfig(options, socket));
  // Without a listener a lost session would end the process; the next query reports it.
  client.on('error', () => undefined);
  const abort = () => socket.destroy();
  options.signal?.addEventListener('abort', abort, { once: true });
  try {
    await client.connect();
  } catch (cause) {
    socket.destroy();
    options.signal?.removeEventListener('abort', abort);
    options.signal?.throwIfAborted();
    throw connectError(options, cause);
  }
  return {
    query: (sql, params) => runStatement({ client, options, sql, params }),
    queryFirstValue: (sql) => runForFirstValue(client, options, sql),
    [Symbol.asyncDispose]: async () => {
      options.signal?.removeEventListener('abort', abort);
      await endClient(client, socket);
    },
  };
}

/** Was the login refused (role unknown, locked, or wrong password), as opposed to anything that may pass? Looks along the causes. */
export function isAuthenticationRefused(error: unknown): boolean {
  if (error instanceof WalkbackError && error.code === 'POSTGRES_ACCESS_DENIED') return true;
  const code = sqlStateOf(error);
  if (code !== undefined) return refusalStates.has(code);
  return error instanceof Error && error.cause !== undefined && isAuthenticationRefused(error.cause);
}

/** SQLSTATE of an error that a server sent; undefined for any other. Looks along the causes. */
export function sqlStateOf(error: unknown): string | undefined {
  if (error instanceof DatabaseError) return error.code;
  return error instanceof Error && error.cause !== undefined ? sqlStateOf(error.cause) : undefined;
}

/** For messages: where a server answers. */
function describeAddress(options: Pick<ConnectOptions, 'host' | 'port'>): string {
  return options.host.startsWith('/') ? `${options.host}/.s.PGSQL.${options.port}` : `${options.host}:${options.port}`;
}

function clientConfig(options: ConnectOptions, socket: Socket): ClientConfig {
  const { password } = options;
  return {
    host: options.host,
    port: options.port,
    user: options.user,
    database: options.database,
    // A function, because pg takes an absent or empty password from PGPASSWORD and ~/.pgpass.
    password: () => password ?? '',
    ssl: false,
    application_name: options.applicationName ?? 'walkback',
    client_encoding: 'UTF8',
    options: sessionOptions,
    connectionTimeoutMillis: options.connectTimeoutMs ?? defaultConnectTimeoutMs,
    statement_timeout: options.statementTimeoutMs ?? defaultStatementTimeoutMs,
    stream: () => socket,
  };
}

interface StatementRun {
  readonly client: Client;
  readonly options: ConnectOptions;
  readonly sql: string;
  readonly params: readonly unknown[] | undefined;
}

async function runStatement<Row extends object>({ client, options, sql, params }: StatementRun): Promise<Row[]> {
  options.signal?.throwIfAborted();
  try {
    const result = await client.query<Row>(sql, params === undefined ? undefined : [...params]);
    return result.rows;
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw statementError(options, cause);
  }
}

/** The extended protocol takes one statement only, so a second one behind a semicolon is refused; values stay text as the server sent them. */
async function runForFirstValue(client: Client, options: ConnectOptions, sql: string): Promise<string | null> {
  options.signal?.throwIfAborted();
  const asText = { getTypeParser: () => (text: string) => text };
  try {
    const result = await client.query<(string | null)[]>({
      text: sql,
      rowMode: 'array',
      queryMode: 'extended',
      types: asText,
    } as QueryArrayConfig);
    return result.rows[0]?.[0] ?? null;
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw statementError(options, cause);
  }
}

function connectError(options: ConnectOptions, cause: unknown): WalkbackError {
  const facts = { address: describeAddress(options), user: options.user, database: options.database, sqlState: sqlStateOf(cause) ?? null };
  const reason = reasonOf(cause);
  const denied = isAuthenticationRefused(cause) || (options.password === undefined && /client password must be/.test(reason));
  return denied
    ? new WalkbackError('POSTGRES_ACCESS_DENIED', `PostgreSQL at ${facts.address} refuses the role "${options.user}": ${reason}.`, {
        facts,
        cause,
      })
    : new WalkbackError('POSTGRES_UNREACHABLE', `PostgreSQL at ${facts.address} cannot be reached: ${reason}.`, { facts, cause });
}

/** Errors of the session itself have SQLSTATE class 08, or 57P0x when the server ends it. */
function statementError(options: ConnectOptions, cause: unknown): WalkbackError {
  const sqlState = sqlStateOf(cause);
  const facts = { address: describeAddress(options), user: options.user, sqlState: sqlState ?? null };
  if (sqlState === undefined || sqlState.startsWith('08') || sqlState.startsWith('57P0')) {
    return new WalkbackError('POSTGRES_UNREACHABLE', `The session with PostgreSQL at ${facts.address} is lost: ${reasonOf(cause)}.`, {
      facts,
      cause,
    });
  }
  return new WalkbackError('STATEMENT_FAILED', `PostgreSQL at ${facts.address} refused a statement: ${reasonOf(cause)}.`, { facts, cause });
}

function reasonOf(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  return message.replace(/\.$/, '');
}

async function endClient(client: Client, socket: Socket): Promise<void> {
  const bound = setTimeout(() => socket.destroy(), endTimeoutMs);
  try {
    await client.end();
  } catch {
    // The session is over in either case, which is all that was wanted.
  } finally {
    clearTimeout(bound);
    socket.destroy();
  }
}
