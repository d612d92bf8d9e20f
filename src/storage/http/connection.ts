/**
 * One connection of HTTP/1.1 (RFC 9112) to a store, for answers whose bodies are large. What comes is read to where it is wanted, or else into the same
 * memory each time: node:http takes new memory twice for each 64 KiB, and what its garbage collections cost is a third of fetching a base backup.
 */
import { HTTPParser } from 'http-parser-js';
import { connect as connectTcp, isIP, type OnReadOpts, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { ResponseBody } from './response-body.ts';

/** A connection's own memory: how far it reads ahead of whoever reads its body. */
const ownBytes = 64 * 1024;
/** What is read at a time, to where it is wanted. */
const readMaximumBytes = 256 * 1024;
/** Of an answer; the same as node:http. The parser counts the end of the body before it too, where both come at once. */
const headMaximumBytes = 16 * 1024;
HTTPParser.maxHeaderSize = readMaximumBytes + headMaximumBytes;

/** Whom to connect to. */
export interface Origin {
  readonly isTls: boolean;
  readonly hostname: string;
  readonly port: number;
}

/** A request without a body. */
export interface HttpRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The head of an answer, and its body to be read or destroyed. */
export interface HttpAnswer {
  readonly statusCode: number;
  /** Names in lower case; several values of a name are joined by commas. */
  readonly headers: Record<string, string>;
  readonly body: ResponseBody;
}

/** How long to wait. */
export interface WaitOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Who is told of a connection's life. */
export interface ConnectionListener {
  /** It begins to connect. */
  readonly onBegin: (connection: HttpConnection) => void;
  /** A body was read to its end: another request may be sent. */
  readonly onIdle: (connection: HttpConnection) => void;
  readonly onClose: (connection: HttpConnection) => void;
}

/** What somebody waits for: the connection itself, without an answer, or the head of an answer. */
interface Waiting {
  readonly resolve: (answer: HttpAnswer | undefined) => void;
  readonly reject: (error: Error) => void;
}

export class HttpConnection {
  readonly #socket: Socket;
  readonly #ownMemory = Buffer.allocUnsafeSlow(ownBytes);
  readonly #parser = new HTTPParser(HTTPParser.RESPONSE);
  readonly #listener: ConnectionListener;
  #waiting: Waiting | undefined;
  #body: ResponseBody | undefined;
  /** 1xx, which the answer itself follows (RFC 9110, section 15.2). */
  #isInterim = false;

  private constructor(origin: Origin, listener: ConnectionListener) {
    this.#listener = listener;
    this.#parser[HTTPParser.kOnHeadersComplete] = (head) => this.#onHead(head);
    this.#parser[HTTPParser.kOnBody] = (piece, offset, sizeBytes) => this.#body?.receive(piece.subarray(offset, offset + sizeBytes));
    this.#parser[HTTPParser.kOnMessageComplete] = () => {
      if (!this.#isInterim) this.#body?.finish();
    };
    const onread = {
      buffer: () => this.#nextMemory(),
      callback: (count: number, memory: Uint8Array) => this.#onBytes(count, memory),
    };
    this.#socket = openSocket(origin, onread);
    this.#socket.setNoDelay(true);
    this.#socket.once(origin.isTls ? 'secureConnect' : 'connect', () => this.#waiting?.resolve(undefined));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('end', () => this.#onEnd());
    this.#socket.on('close', () => {
      this.#fail(closedEarly());
      listener.onClose(this);
    });
  }

  /** Connects. @throws system errors of connecting and errors of TLS; ETIMEDOUT; AbortError */
  static async open(origin: Origin, options: WaitOptions & ConnectionListener): Promise<HttpConnection> {
    const connection = new HttpConnection(origin, options);
    options.onBegin(connection);
    await connection.#wait('connecting', options);
    return connection;
  }

  /** Sends a request and waits for the head of its answer. @throws ECONNRESET, ETIMEDOUT, AbortError, the parser's errors */
  async ask(request: HttpRequest, options: WaitOptions): Promise<HttpAnswer> {
    this.#socket.write(headOf(request), 'latin1');
    this.#socket.resume();
    const answer = await this.#wait('waiting for an answer', options);
    if (answer === undefined) throw closedEarly();
    return answer;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async #wait(what: string, { timeoutMs, signal }: WaitOptions): Promise<HttpAnswer | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer | undefined>();
    this.#waiting = { resolve, reject };
    const onAbort = (): void => this.#fail(Object.assign(new Error('the request was aborted'), { name: 'AbortError' }));
    const timer = setTimeout(() => this.#fail(timedOut(`${what} took longer than ${timeoutMs} ms`)), timeoutMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      if (signal?.aborted === true) onAbort();
      else if (this.#socket.destroyed) this.#fail(closedEarly());
      return await promise;
    } finally {
      this.#waiting = undefined;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Asked for after each read. To where the body's reader waits for bytes, unless that is so little that the rest would come into the own memory. */
  #nextMemory(): Uint8Array {
    const wanted = this.#body?.wanted.subarray(0, readMaximumBytes);
    return wanted === undefined || wanted.length < ownBytes ? this.#ownMemory : wanted;
  }

  /** @returns whether more may be read */
  #onBytes(count: number, memory: Uint8Array): boolean {
    if (this.#waiting === undefined && this.#body === undefined) {
      this.#fail(new Error('the store sent something that nobody asked for'));
      return false;
    }
    const taken = this.#parser.execute(Buffer.from(memory.buffer, memory.byteOffset, count));
    if (taken instanceof Error) this.#fail(taken);
    return this.#body?.isBehind !== true;
  }

  #onHead(head: ParsedHead): void {
    const { statusCode } = head;
    this.#isInterim = statusCode < 200;
    if (this.#isInterim) return;
    const headers = headersOf(head.headers);
    if (!/^\d*$/.test(headers['content-length'] ?? '')) {
      this.#fail(new Error(`the answer has the length ${headers['content-length']}`));
      return;
    }
    const body = new ResponseBody({
      resume: () => this.#socket.resume(),
      release: () => this.#onRead(head.shouldKeepAlive),
      abandon: () => this.#socket.destroy(),
    });
    this.#body = body;
    this.#waiting?.resolve({ statusCode, headers, body });
  }

  #onRead(keepsAlive: boolean): void {
    this.#body = undefined;
    if (!keepsAlive) this.#socket.destroy();
    else if (!this.#socket.destroyed) {
      // Read on, to hear of the store's closing it.
      this.#socket.resume();
      this.#listener.onIdle(this);
    }
  }

  /** An answer without a length ends with its connection. */
  #onEnd(): void {
    this.#parser.finish();
    this.#fail(closedEarly());
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#body?.fail(error);
    this.#socket.destroy();
  }
}

/** What the parser tells of a head; names and values take turns. */
interface ParsedHead {
  readonly statusCode: number;
  readonly headers: readonly string[];
  readonly shouldKeepAlive: boolean;
}

function openSocket({ isTls, hostname, port }: Origin, onread: OnReadOpts): Socket {
  const options = { host: hostname, port, onread };
  if (!isTls) return connectTcp(options);
  // No name of a server is an address (RFC 6066, section 3).
  return connectTls({ ...options, ...(isIP(hostname) === 0 ? { servername: hostname } : {}) });
}

function headOf({ method, path, headers }: HttpRequest): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

function headersOf(raw: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const [name = '', value = ''] = [raw[index]?.toLowerCase(), raw[index + 1]];
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  return headers;
}

function closedEarly(): Error {
  return Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' });
}

function timedOut(message: string): Error {
  return Object.assign(new Error(message), { name: 'TimeoutError', code: 'ETIMEDOUT' });
}
