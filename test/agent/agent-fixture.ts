/** A WAL service on a real socket, with an archive in memory whose faults a test decides, and data directories as PostgreSQL lays them out. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startWalService, type WalService, type WalServiceOptions } from '../../src/agent/wal-service.ts';
import { writeFileSynced } from '../../src/files/durable-file.ts';
import type { WalFiles } from '../../src/agent/wal-files.ts';
import { walSegmentName } from '../../src/domain/wal-segment.ts';

export const commandPath = fileURLToPath(new URL('../../src/agent/wal-command.cjs', import.meta.url));

/** Segment names on timeline 1. */
export function segment(number: number, timeline = 1): string {
  return walSegmentName({ timeline, number: BigInt(number) });
}

/** WAL in memory. `before` may throw or wait: it is the object store's mood. */
export class FakeWalFiles implements WalFiles {
  readonly stored = new Map<string, Buffer>();
  readonly pushes: string[] = [];
  readonly fetches: string[] = [];
  before: (operation: 'push' | 'fetch', name: string) => Promise<void> | void = () => undefined;

  async push({ path, name }: { path: string; name: string }): Promise<'stored' | 'already-stored'> {
    this.pushes.push(name);
    await this.before('push', name);
    const isKnown = this.stored.has(name);
    this.stored.set(name, await readFile(path));
    return isKnown ? 'already-stored' : 'stored';
  }

  async fetch({ name, destination }: { name: string; destination: string }): Promise<'fetched' | 'absent'> {
    this.fetches.push(name);
    await this.before('fetch', name);
    const bytes = this.stored.get(name);
    if (bytes === undefined) return 'absent';
    await writeFileSynced(destination, bytes);
    return 'fetched';
  }
}

/** What a command did. */
export interface CommandResult {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

/** Everything a test needs; removed at its end. */
export class AgentFixture implements AsyncDisposable {
  readonly files = new FakeWalFiles();
  readonly logged: string[] = [];
  readonly directory: string;
  readonly dataDirectory: string;
  service: WalService | undefined;
  readonly #children: ChildProcess[] = [];

  static async create(name = 'agent'): Promise<AgentFixture> {
    const fixture = new AgentFixture(await mkdtemp(join(tmpdir(), `walkback-${name}-`)));
    await mkdir(join(fixture.dataDirectory, 'pg_wal', 'archive_status'), { recursive: true });
    return fixture;
  }

  constructor(directory: string) {
    this.directory = directory;
    this.dataDirectory = join(directory, 'data');
  }

  get socketPath(): string {
    return join(this.directory, 'agent.sock');
  }

  get stateDirectory(): string {
    return join(this.directory, 'state');
  }

  /** Where the shell of archive_command finds acknowledgements. */
  get acknowledgements(): string {
    return join(this.stateDirectory, 'archived', 'shop');
  }

  get prefetchDirectory(): string {
    return join(this.dataDirectory, 'walkback_restore', 'prefetch');
  }

  async start(options: Partial<WalServiceOptions> = {}): Promise<WalService> {
    const note = (facts: object, message: string) => void this.logged.push(`${message} ${JSON.stringify(facts)}`);
    this.service = await startWalService({
      socketPath: this.socketPath,
      stateDirectory: this.stateDirectory,
      openArchive: () => this.files,
      log: { info: note, warn: note, error: note },
      diskFloorBytes: 0,
      pushPatience: { totalMs: 50, firstDelayMs: 10, maximumDelayMs: 10 },
      fetchPatience: { totalMs: 50, firstDelayMs: 10, maximumDelayMs: 10 },
      ...options,
    });
    return this.service;
  }

  async registerCluster(options: { persist?: boolean } = {}): Promise<void> {
    await this.service?.registerCluster({
      name: 'shop',
      dataDirectory: this.dataDirectory,
      systemIdentifier: '7000000000000000001',
      archiveUrl: 'file:///archive',
      ...options,
    });
  }

  async registerRestore(first: number, last: number, histories: string[] = []): Promise<void> {
    await this.service?.registerRestore({
      restoreId: 'restore one',
      archiveUrl: 'file:///archive',
      dataDirectory: this.dataDirectory,
      systemIdentifier: '7000000000000000001',
      view: { segments: [{ timeline: 1, first: segment(first), last: segment(last) }], histories },
    });
  }

  /** Puts a file that waits to be archived into pg_wal. */
  async writeReady(name: string, content = `bytes of ${name}`): Promise<void> {
    await writeFile(join(this.dataDirectory, 'pg_wal', name), content);
    await writeFile(join(this.dataDirectory, 'pg_wal', 'archive_status', `${name}.ready`), '');
  }

  /** What PostgreSQL does once it was told that the files are archived. */
  async markDone(...numbers: number[]): Promise<void> {
    for (const number of numbers) {
      const status = join(this.dataDirectory, 'pg_wal', 'archive_status', segment(number));
      await rename(`${status}.ready`, `${status}.done`);
    }
  }

  /** Archives bytes without the agent. */
  store(...numbers: number[]): void {
    for (const number of numbers) this.files.stored.set(segment(number), Buffer.from(`bytes of ${segment(number)}`));
  }

  /** Runs the command as PostgreSQL would: in the data directory. */
  push(name: string, path = `pg_wal/${name}`): Promise<CommandResult> {
    return this.run(process.execPath, [commandPath, 'push', this.socketPath, 'shop', name, path, '300']);
  }

  fetch(name: string): Promise<CommandResult> {
    return this.run(process.execPath, [commandPath, 'fetch', this.socketPath, 'restore one', name, 'pg_wal/RECOVERYXLOG', '300']);
  }

  shell(command: string): Promise<CommandResult> {
    return this.run('/bin/sh', ['-c', command]);
  }

  async run(program: string, args: string[]): Promise<CommandResult> {
    return resultOf(this.spawn(program, args));
  }

  spawn(program: string, args: string[]): ChildProcess {
    const child = spawn(program, args, { cwd: this.dataDirectory, stdio: ['ignore', 'ignore', 'pipe'] });
    this.#children.push(child);
    return child;
  }

  recovered(): Promise<string> {
    return readFile(join(this.dataDirectory, 'pg_wal', 'RECOVERYXLOG'), 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await this.service?.[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Waits for a process and what it wrote. */
export async function resultOf(child: ChildProcess): Promise<CommandResult> {
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const [exitCode, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { exitCode, signal, stderr };
}

/** What PostgreSQL makes of a command line before it hands it to sh (BuildRestoreCommand, shell_archive.c). */
export function replacePlaceholders(command: string, name: string, path: string): string {
  return command.replaceAll(/%(.)/g, (_, letter: string) => (letter === 'f' ? name : letter === 'p' ? path : letter));
}
