/** The connections of one client, kept for the next requests. */
import { HttpConnection, type HttpAnswer, type HttpRequest, type Origin } from './connection.ts';

/** How the connections are kept. */
export interface ConnectionsOptions {
  readonly connectTimeoutMs: number;
  /** From the request to the head of its answer. */
  readonly answerTimeoutMs: number;
  /** A connection idle for longer is closed: most stores would do so soon. */
  readonly idleMs: number;
  /** Idle ones that are kept. */
  readonly idleMaximumCount: number;
}

export class HttpConnections {
  readonly #options: ConnectionsOptions;
  readonly #idle: { readonly origin: string; readonly connection: HttpConnection; readonly timer: NodeJS.Timeout }[] = [];
  /** From the beginning of connecting. */
  readonly #open = new Set<HttpConnection>();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** Sends a request. @throws what HttpConnection throws; nothing is tried twice */
  async ask(origin: Origin, request: HttpRequest, signal: AbortSignal | undefined): Promise<HttpAnswer> {
    const { connectTimeoutMs, answerTimeoutMs } = this.#options;
    const connection = this.#idleOne(nameOf(origin)) ?? (await this.#connect(origin, { timeoutMs: connectTimeoutMs, signal }));
    return await connection.ask(request, { timeoutMs: answerTimeoutMs, signal });
  }

  /** Closes idle and busy connections, and those that are being opened. */
  close(): void {
    for (const { timer } of this.#idle.splice(0)) clearTimeout(timer);
    for (const connection of this.#open) connection.destroy();
    this.#open.clear();
  }

  async #connect(
    origin: Origin,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<HttpConnection> {
    return await HttpConnection.open(origin, {
      ...options,
      onBegin: (connecting) => this.#open.add(connecting),
      onIdle: (idle) => this.#keep(nameOf(origin), idle),
      onClose: (closed) => this.#forget(closed),
    });
  }

  /** The one that was used last: the others may grow old and go. */
  #idleOne(origin: string): HttpConnection | undefined {
    const index = this.#idle.findLastIndex((one) => one.origin === origin);
    const [found] = index < 0 ? [] : this.#idle.splice(index, 1);
    clearTimeout(found?.timer);
    return found?.connection;
  }

  #keep(origin: string, connection: HttpConnection): void {
    if (this.#idle.length >= this.#options.idleMaximumCount) connection.destroy();
    else this.#idle.push({ origin, connection, timer: setTimeout(() => connection.destroy(), this.#options.idleMs).unref() });
  }

  #forget(connection: HttpConnection): void {
    this.#open.delete(connection);
    const index = this.#idle.findIndex((one) => one.connection === connection);
    for (const { timer } of index < 0 ? [] : this.#idle.splice(index, 1)) clearTimeout(timer);
  }
}

function nameOf({ isTls, hostname, port }: Origin): string {
  return `${isTls ? 'https' : 'http'}://${hostname}:${port}`;
}
