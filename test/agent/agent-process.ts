/** A program for the tests: an agent whose archive is a directory of plain files. `node agent-process.ts DIRECTORY DELAY_MS`; prints "ready". */
import { copyFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { WalFiles } from '../../src/agent/wal-files.ts';
import { startWalService } from '../../src/agent/wal-service.ts';

const [directory = '', delayMs = '0'] = process.argv.slice(2);

const files: WalFiles = {
  push: async ({ path, name }) => {
    await copyFile(path, join(directory, 'archive', name));
    return 'stored';
  },
  fetch: async ({ name, destination }) => {
    await delay(Number(delayMs));
    const path = join(directory, 'archive', name);
    if ((await stat(path).catch(() => undefined)) === undefined) return 'absent';
    await copyFile(path, destination);
    return 'fetched';
  },
};

const note = (facts: object, message: string) => void process.stderr.write(`${message} ${JSON.stringify(facts)}\n`);
await startWalService({
  socketPath: join(directory, 'agent.sock'),
  stateDirectory: join(directory, 'state'),
  openArchive: () => files,
  log: { info: note, warn: note, error: note },
});
process.stdout.write('ready\n');
