/** A unix socket between a client and a PostgreSQL server that breaks the connection at a chosen statement. */
import { rm } from 'node:fs/promises';
import { mkdtemp } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Breaks one statement of those that come, counted over all connections. */
export interface BreakingProxy extends AsyncDisposable {
  readonly socketDirectory: string;
  /** `before`: the server never sees the statement; `after`: it has carried it out, and the client does not learn that. Counts from 1, anew. */
  breakAt(statement: number, when: 'before' | 'after'): void;
}

/** Query, and Parse of the extended protocol, with which each further statement begins. */
const statementTypes: ReadonlySet<string> = new Set(['Q', 'P']);
const readyForQuery = 'Z';

/** Opens it in a directory of its own. */
export async function openBreakingProxy(server: { readonly socketDirectory: string; readonly port: number }): Promise<BreakingProxy> {
  const socketDirectory = await mkdtemp(join(tmpdir(), 'wb-proxy-'));
  const plan = { left: Number.POSITIVE_INFINITY, when: 'before' as 'before' | 'after' };
  const sockets = new Set<Socket>();
  const listener = createServer((client) => {
    const upstream = connect(join(server.socketDirectory, `.s.PGSQL.${server.port}`));
    const close = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', close);
      socket.on('close', () => {
        sockets.delete(socket);
        close();
      });
    }
    let isDeaf = false;
    const fromClient = new Frames({ hasStartup: true });
    const fromServer = new Frames({ hasStartup: false });
    client.on('data', (bytes) => {
      for (const { type, frame } of fromClient.take(bytes)) {
        if (statementTypes.has(type)) {
          plan.left -= 1;
          if (plan.left === 0 && plan.when === 'before') return close();
          if (plan.left === 0) isDeaf = true;
        }
        upstream.write(frame);
      }
    });
    upstream.on('data', (bytes) => {
      for (const { type, frame } of fromServer.take(bytes)) {
        if (!isDeaf) client.write(frame);
        else if (type === readyForQuery) return close();
      }
    });
  });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(join(socketDirectory, `.s.PGSQL.${server.port}`), () => resolve());
  });
  return {
    socketDirectory,
    breakAt: (statement, when) => {
      plan.left = statement;
      plan.when = when;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => {
        listener.close(() => resolve());
      });
      await rm(socketDirectory, { recursive: true, force: true });
    },
  };
}

/** Whole messages of one direction: a type, a length, a body; the client's first has no type. */
class Frames {
  #rest: Buffer = Buffer.alloc(0);
  #expectsStartup: boolean;

  constructor({ hasStartup }: { readonly hasStartup: boolean }) {
    this.#expectsStartup = hasStartup;
  }

  take(bytes: Buffer | string): { readonly type: string; readonly frame: Buffer }[] {
    this.#rest = Buffer.concat([this.#rest, Buffer.from(bytes)]);
    const frames: { type: string; frame: Buffer }[] = [];
    for (;;) {
      const typeBytes = this.#expectsStartup ? 0 : 1;
      if (this.#rest.length < typeBytes + 4) return frames;
      const end = typeBytes + this.#rest.readUInt32BE(typeBytes);
      if (this.#rest.length < end) return frames;
      frames.push({ type: typeBytes === 0 ? '' : String.fromCharCode(this.#rest.readUInt8(0)), frame: this.#rest.subarray(0, end) });
      this.#rest = this.#rest.subarray(end);
      this.#expectsStartup = false;
    }
  }
}
