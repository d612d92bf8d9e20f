/** Ports that nobody listens on. */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below what a system gives to outgoing connections, and to whoever lets it choose (Linux: ip_local_port_range, from 32768 on): of those, any could be taken
 * by anybody's connection before its owner listens.
 */
const firstPort = 10_000;
const endPort = 32_768;
/** Some ports are taken by other servers; so many in a row would be chance no more. */
const triesMaximum = 50;

/**
 * A TCP port on 127.0.0.1 that was free a moment ago. Whoever listens on it must be ready to lose it to another process, and try again.
 * @throws Error when none was found
 */
export async function freePort(): Promise<number> {
  for (let count = 1; ; count += 1) {
    const port = randomInt(firstPort, endPort);
    try {
      await listenOnce(port);
      return port;
    } catch (cause) {
      // Whatever the reason: another one may do.
      if (count === triesMaximum) throw new Error(`None of ${triesMaximum} ports from ${firstPort} to ${endPort - 1} is free.`, { cause });
    }
  }
}

/** @throws the system's error when the port cannot be had */
async function listenOnce(port: number): Promise<void> {
  const server = createServer().listen({ host: '127.0.0.1', port });
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}
