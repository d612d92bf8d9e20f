import { array, assert as assertProperty, asyncProperty, integer, nat } from 'fast-check';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, Server as TlsServer } from 'node:tls';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ByteReader } from '../../../src/storage/byte-reader.ts';
import { HttpConnections } from '../../../src/storage/http/connections.ts';

const open: { close: () => void }[] = [];

afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

/** A server that answers each request as told, and knows how often it was connected to. */
async function serve(answer: (socket: Socket, requestNumber: number) => void, server: Server = createServer()): Promise<ServedStore> {
  const sockets = new Set<Socket>();
  let requestCount = 0;
  let connectionCount = 0;
  server.listen(0, '127.0.0.1');
  server.on('tlsClientError', () => undefined);
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
    connectionCount += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      for (const _request of bytes.toString('latin1').matchAll(/\r\n\r\n/g)) answer(socket, (requestCount += 1));
    });
  });
  await once(server, 'listening');
  open.push({
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
  return {
    origin: { isTls: false, hostname: '127.0.0.1', port: (server.address() as AddressInfo).port },
    connectionCount: () => connectionCount,
    sockets,
  };
}

interface ServedStore {
  readonly origin: { readonly isTls: boolean; readonly hostname: string; readonly port: number };
  readonly connectionCount: () => number;
  readonly sockets: ReadonlySet<Socket>;
}

function connections(options: Partial<ConstructorParameters<typeof HttpConnections>[0]> = {}): HttpConnections {
  const made = new HttpConnections({ connectTimeoutMs: 5000, answerTimeoutMs: 5000, idleMs: 60_000, idleMaximumCount: 4, ...options });
  open.push(made);
  return made;
}

const get = { method: 'GET', path: '/bucket/key', headers: { host: 'store' } };

async function readAll(reader: ByteReader, pieceBytes = 7): Promise<string> {
  let text = '';
  const target = Buffer.alloc(pieceBytes);
  for (;;) {
    const sizeBytes = await reader.readInto(target);
    if (sizeBytes === 0) return text;
    text += target.toString('latin1', 0, sizeBytes);
  }
}

const forms: readonly (readonly [string, string])[] = [
  ['with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 26\r\nETag: "a"\r\n\r\nabcdefghijklmnopqrstuvwxyz'],
  ['in chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "a"\r\n\r\n5\r\nabcde\r\n15\r\nfghijklmnopqrstuvwxyz\r\n0\r\n\r\n'],
  [
    'behind an interim answer',
    'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 26\r\nETag: "a"\r\n\r\nabcdefghijklmnopqrstuvwxyz',
  ],
];

describe('a connection to the store', () => {
  it.each(forms)(
    'reads a body %s, wherever the network cuts it and whatever is read at a time, and is used again',
    async (_form, answer) => {
      let cuts: readonly number[] = [];
      const store = await serve((socket) => {
        const ends = [...cuts.map((cut) => cut % answer.length), answer.length].toSorted((one, other) => one - other);
        let from = 0;
        for (const end of ends) {
          if (end > from) socket.write(answer.slice(from, end), 'latin1');
          from = end;
        }
      });
      const client = connections();
      await assertProperty(
        asyncProperty(array(nat(500), { maxLength: 5 }), integer({ min: 1, max: 40 }), async (someCuts, pieceBytes) => {
          cuts = someCuts;
          const { statusCode, headers, body } = await client.ask(store.origin, get, undefined);
          expect({ statusCode, etag: headers['etag'], text: await readAll(body, pieceBytes) }).toEqual({
            statusCode: 200,
            etag: '"a"',
            text: 'abcdefghijklmnopqrstuvwxyz',
          });
        }),
        { numRuns: 50 },
      );
      expect(store.connectionCount()).toBe(1);
    },
  );

  it('reads megabytes as a stream too, and is used again', async () => {
    const content = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => index % 251));
    const store = await serve((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${content.length}\r\n\r\n`);
      socket.write(content);
    });
    const client = connections();
    for (const _attempt of [1, 2]) {
      const { body } = await client.ask(store.origin, get, undefined);
      const pieces: Buffer[] = [];
      for await (const piece of body as AsyncIterable<Buffer>) pieces.push(piece);
      expect(Buffer.concat(pieces).equals(content)).toBe(true);
    }
    expect(store.connectionCount()).toBe(1);
  });

  it.each([
    ['with a length', (content: Buffer) => [`HTTP/1.1 200 OK\r\nContent-Length: ${content.length}\r\n\r\n`, content]],
    [
      'in chunks',
      (content: Buffer) => [
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
        ...[0, 1, 2].flatMap((third) => {
          const piece = content.subarray((third * content.length) / 3, ((third + 1) * content.length) / 3);
          return [`${piece.length.toString(16)}\r\n`, piece, '\r\n'];
        }),
        '0\r\n\r\n',
      ],
    ],
  ] as const)(
    'reads megabytes %s to where they are wanted, and nothing over what a slow reader has not taken yet',
    async (_form, answerOf) => {
      const content = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => index % 251));
      const store = await serve((socket) => {
        for (const piece of answerOf(content)) socket.write(piece);
      });
      const client = connections();
      for (const atATimeBytes of [50_000, 300_000, 1_000_000, content.length]) {
        const { body } = await client.ask(store.origin, get, undefined);
        // As the memory that threads share.
        const read = Buffer.from(new SharedArrayBuffer(content.length + 1));
        for (let readBytes = 0; ;) {
          const sizeBytes = await body.readInto(read.subarray(readBytes, readBytes + atATimeBytes));
          readBytes += sizeBytes;
          if (sizeBytes === 0) break;
          // Between two reads, the connection has its turn.
          await nextTurn();
        }
        expect(read.subarray(0, content.length).equals(content)).toBe(true);
      }
      expect(store.connectionCount()).toBe(1);
    },
  );

  it('reads a body without a length until the connection ends', async () => {
    const store = await serve((socket) => socket.end('HTTP/1.1 500 Broken\r\n\r\nsorry'));
    const { statusCode, body } = await connections().ask(store.origin, get, undefined);
    expect([statusCode, await readAll(body)]).toEqual([500, 'sorry']);
  });

  it('says that a body broke off, after the bytes that came', async () => {
    const store = await serve((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'));
    const { body } = await connections().ask(store.origin, get, undefined);
    const target = Buffer.alloc(8);
    expect(await body.readInto(target)).toBe(3);
    await expect(body.readInto(target)).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  it.each([
    ['nonsense', 'Parse Error', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['a length that is none', 'the length many', 'HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nabc'],
    ['two lengths', 'Parse Error', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd'],
    [
      'a head without end',
      'max header size exceeded',
      `HTTP/1.1 200 OK\r\n${'X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n'.repeat(20_000)}`,
    ],
  ])('refuses %s', async (_what, message, answer) => {
    const store = await serve((socket) => socket.write(answer));
    await expect(connections().ask(store.origin, get, undefined)).rejects.toThrow(message);
  });

  it('is not used again when the store closes it', async () => {
    const store = await serve((socket, requestNumber) => {
      socket.write(`HTTP/1.1 200 OK\r\n${requestNumber === 1 ? 'Connection: close\r\n' : ''}Content-Length: 2\r\n\r\nok`);
    });
    const client = connections();
    for (const expectedCount of [1, 2, 2]) {
      const { body } = await client.ask(store.origin, get, undefined);
      expect(await readAll(body)).toBe('ok');
      expect(store.connectionCount()).toBe(expectedCount);
    }
  });

  it('is not used again when more comes than was asked for', async () => {
    const store = await serve((socket, requestNumber) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok${requestNumber === 1 ? 'more\r\n' : ''}`);
    });
    const client = connections();
    for (const expectedCount of [1, 2, 2]) {
      const { body } = await client.ask(store.origin, get, undefined);
      expect(await readAll(body)).toBe('ok');
      expect(store.connectionCount()).toBe(expectedCount);
    }
  });

  it('is closed when its body is destroyed before its end, and after it was idle for long enough', async () => {
    const store = await serve((socket, requestNumber) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${requestNumber === 1 ? 9 : 2}\r\n\r\nok`);
    });
    const client = connections({ idleMs: 30 });
    const unread = await client.ask(store.origin, get, undefined);
    unread.body.destroy();
    const whole = await client.ask(store.origin, get, undefined);
    expect(await readAll(whole.body)).toBe('ok');
    await vi.waitFor(() => expect([...store.sockets].every(({ closed }) => closed)).toBe(true));
    expect(store.connectionCount()).toBe(2);
  });

  it('waits for an answer only so long, and not after an abort', async () => {
    const store = await serve(() => undefined);
    await expect(connections({ answerTimeoutMs: 40 }).ask(store.origin, get, undefined)).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    const controller = new AbortController();
    const asked = connections().ask(store.origin, get, controller.signal);
    await vi.waitFor(() => expect(store.connectionCount()).toBe(2));
    controller.abort();
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' });
    await expect(connections().ask(store.origin, get, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('is given up with its client while it is being opened', async () => {
    const store = await serve(() => undefined);
    const client = connections();
    // The server takes the connection and never answers the greeting of TLS.
    const failure = client.ask({ ...store.origin, isTls: true }, get, undefined).catch((error: unknown) => error);
    await vi.waitFor(() => expect(store.connectionCount()).toBe(1));
    client.close();
    expect(await failure).toMatchObject({ code: 'ECONNRESET' });
    await vi.waitFor(() => expect([...store.sockets].every(({ closed }) => closed)).toBe(true));
  });

  it('is refused where nobody listens', async () => {
    const store = await serve(() => undefined);
    for (const one of open.splice(0)) one.close();
    await expect(connections().ask(store.origin, get, undefined)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('is encrypted over HTTPS, and refuses a server whose certificate nobody vouches for', async ({ skip }) => {
    const certificate = await makeCertificate();
    if (certificate === undefined) return skip('openssl is not installed');
    const content = 'x'.repeat(600_000);
    const answer = (socket: Socket): void => void socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${content.length}\r\n\r\n${content}`);
    const store = await serve(answer, createTlsServer(certificate));
    const origin = { ...store.origin, isTls: true };
    await expect(connections().ask(origin, get, undefined)).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    try {
      const { body } = await connections().ask(origin, get, undefined);
      expect(await readAll(body, 100_000)).toBe(content);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

/** Undefined without openssl. */
async function makeCertificate(): Promise<{ readonly cert: Buffer; readonly key: Buffer } | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'certificate-'));
  try {
    const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1'];
    await promisify(execFile)('openssl', [...request, '-keyout', key, '-out', cert]);
    return { cert: await readFile(cert), key: await readFile(key) };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
