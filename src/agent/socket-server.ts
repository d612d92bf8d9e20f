/** A unix socket that takes one line of JSON and answers with one. */
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../domain/errors.ts';
import { type AgentReply, type AgentRequest, requestMaximumBytes, requestSchema } from './protocol.ts';
import { claimSocket, inodeOfSocket, provisionalNameOf, releaseSocket } from './socket-claim.ts';

/** PostgreSQL asks one thing at a time for each server; more connections than this is a fault somewhere. */
const connectionsMaximum = 128;
/** Who connects must say what he wants within this. */
const requestTimeoutMs = 10_000;

/** What is done with a request. The signal ends when the asker has gone. Must not throw. */
export type RequestHandler = (request: AgentRequest, options: { readonly signal: AbortSignal }) => Promise<AgentReply>;

/** A socket being listened on. */
export interface SocketServer {
  /** Accepts no more, lets running requests finish for at most graceMs, cuts the rest off, removes the socket. */
  close(graceMs: number): Promise<void>;
}

/**
 * Listens. The socket is for its owner only (0600); one left behind by a dead agent is replaced.
 * @throws WalkbackError ALREADY_RUNNING when somebody answers on it, INVALID_CONFIGURATION when the path is something else than a socket
 */
export async function listenOnSocket(socketPath: string, handler: RequestHandler): Promise<SocketServer> {
  await mkdir(dirname(socketPath), { recursive: true, mode: 0o700 });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    void serve(socket, handler);
  });
  server.maxConnections = connectionsMaximum;
  const inode = await listenUnder(server, socketPath);
  return {
    close: async (graceMs) => {
      await releaseSocket(socketPath, inode);
      await closeServer(server, sockets, graceMs);
    },
  };
}

async function serve(socket: Socket, handler: RequestHandler): Promise<void> {
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  // A broken connection also emits 'close', which is all that matters here.
  socket.on('error', () => undefined);
  const line = await readLine(socket);
  if (line === undefined) return;
  const reply = await answer(line, handler, gone.signal);
  if (socket.writable) socket.end(`${JSON.stringify(reply)}\n`);
}

async function answer(line: string, handler: RequestHandler, signal: AbortSignal): Promise<AgentReply> {
  let request: AgentRequest;
  try {
    request = requestSchema.parse(JSON.parse(line));
  } catch (error) {
    return {
      result: 'error',
      code: 'INVALID_REQUEST',
      message: `The agent does not understand the request: ${messageOf(error)}`,
      hint: '',
    };
  }
  return handler(request, { signal });
}

/** @returns undefined when no whole line came; the connection is closed then */
function readLine(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    socket.setTimeout(requestTimeoutMs, () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      sizeBytes += chunk.length;
      const hasLine = chunk.includes(0x0a);
      if (!hasLine && sizeBytes <= requestMaximumBytes) return;
      socket.setTimeout(0);
      socket.removeAllListeners('data').resume();
      if (hasLine && sizeBytes <= requestMaximumBytes) resolve(Buffer.concat(chunks).toString('utf8').split('\n', 1)[0]);
      else socket.destroy();
    });
    socket.once('close', () => resolve(undefined));
  });
}

/** @returns the inode of the socket */
async function listenUnder(server: Server, socketPath: string): Promise<bigint | undefined> {
  const provisional = provisionalNameOf(socketPath);
  await listenPrivately(server, provisional);
  try {
    const inode = await inodeOfSocket(provisional);
    await claimSocket(provisional, socketPath);
    return inode;
  } catch (error) {
    // Closing removes the provisional name.
    server.close();
    throw error;
  }
}

/** The umask makes the socket 0600 from its first moment; `listen` binds before it returns. */
async function listenPrivately(server: Server, socketPath: string): Promise<void> {
  const umask = process.umask(0o177);
  try {
    server.listen(socketPath);
  } finally {
    process.umask(umask);
  }
  await once(server, 'listening');
}

async function closeServer(server: Server, sockets: ReadonlySet<Socket>, graceMs: number): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  const graceIsOver = new AbortController();
  await Promise.race([closed, delay(graceMs, undefined, { signal: graceIsOver.signal, ref: false })]);
  graceIsOver.abort();
  for (const socket of sockets) socket.destroy();
  await closed;
}
