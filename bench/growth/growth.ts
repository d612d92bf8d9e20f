/** Do time, memory and requests grow with the data, and with nothing else? Against our own S3 server, which counts requests. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type S3Server, startS3Server } from '../../src/demo/s3-server/s3-server.ts';
import { walSegmentName } from '../../src/domain/wal-segment.ts';
import { runCommand } from '../measure/measure.ts';
import { baseEnvironment } from '../site/s3.ts';
import { makeSparseDirectory, makeTextDirectory, makeTinyFilesDirectory } from './directories.ts';
import type { GrowthJob, GrowthOutcome } from './growth-job.ts';

/** One row. */
export interface GrowthRow {
  readonly work: string;
  /** Bytes that the work is about. */
  readonly dataBytes: number;
  readonly outcome: GrowthOutcome;
  /** By S3's names. */
  readonly requests: Readonly<Record<string, number>>;
}

/** How large the cases are. */
export interface GrowthOptions {
  /** Size of the smallest of three; the others have four and sixteen times as much. */
  readonly sizeMib: number;
  readonly segments: number;
  readonly sparseGib: number;
  readonly tinyFiles: number;
  readonly capSeconds: number;
  readonly say: (line: string) => void;
}

const mebibyte = 1024 * 1024;
const segmentBytes = 16 * mebibyte;
const factors = [1, 4, 16] as const;
const credentials = { accessKeyId: 'growth', secretAccessKey: 'growth-secret' };
const bucket = 'growth';

/** Runs all cases. */
export async function measureGrowth(options: GrowthOptions): Promise<readonly GrowthRow[]> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startS3Server({ ...credentials, buckets: [bucket] }));
  const directory = await mkdtemp(join(tmpdir(), 'growth-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const cases = new GrowthCases(server, directory, options);
  for (const factor of factors) await cases.size(factor);
  await cases.wal();
  await cases.sparse();
  await cases.tinyFiles();
  return cases.rows;
}

class GrowthCases {
  readonly rows: GrowthRow[] = [];
  readonly #server: S3Server;
  readonly #directory: string;
  readonly #options: GrowthOptions;

  constructor(server: S3Server, directory: string, options: GrowthOptions) {
    this.#server = server;
    this.#directory = directory;
    this.#options = options;
  }

  async size(factor: number): Promise<void> {
    const sizeMib = this.#options.sizeMib * factor;
    await this.#thereAndBack(`${factor} ×`, sizeMib * mebibyte, (directory) => makeTextDirectory(directory, sizeMib));
  }

  async sparse(): Promise<void> {
    const { sparseGib } = this.#options;
    const directory = join(this.#directory, 'sparse');
    await makeSparseDirectory(directory, sparseGib);
    await this.#run(`base backup push, a relation of ${sparseGib} GiB`, sparseGib * 1024 * mebibyte, {
      kind: 'push',
      prefix: 'sparse',
      directory,
    });
    await rm(directory, { recursive: true });
  }

  async tinyFiles(): Promise<void> {
    const { tinyFiles } = this.#options;
    await this.#thereAndBack(`${tinyFiles} files`, tinyFiles * 97, (directory) => makeTinyFilesDirectory(directory, tinyFiles));
  }

  async wal(): Promise<void> {
    const { segments } = this.#options;
    const directory = join(this.#directory, 'wal');
    await mkdir(directory);
    const names = Array.from({ length: segments }, (_, index) => walSegmentName({ timeline: 1, number: BigInt(index + 1) }));
    const filler = randomBytes(segmentBytes / 2).toString('hex');
    for (const [index, name] of names.entries()) await writeFile(join(directory, name), segmentWith(BigInt(index + 1), filler));
    await this.#run(`${segments} WAL segments pushed`, segments * segmentBytes, { kind: 'wal-push', prefix: 'wal', directory, names });
    await this.#run(`${segments} WAL segments fetched`, segments * segmentBytes, { kind: 'wal-fetch', prefix: 'wal', directory, names });
    await rm(directory, { recursive: true });
  }

  async #thereAndBack(name: string, dataBytes: number, make: (directory: string) => Promise<void>): Promise<void> {
    const [source, target, prefix] = [join(this.#directory, 'source'), join(this.#directory, 'target'), name.replaceAll(/\W/g, '')];
    await make(source);
    const pushed = await this.#run(`base backup push, ${name}`, dataBytes, { kind: 'push', prefix, directory: source });
    await rm(source, { recursive: true });
    if (!pushed.isComplete) return;
    await mkdir(target, { mode: 0o700 });
    await this.#run(`base backup fetch, ${name}`, dataBytes, { kind: 'fetch', prefix, directory: target });
    await rm(target, { recursive: true });
  }

  async #run(
    work: string,
    dataBytes: number,
    job: Pick<GrowthJob, 'kind' | 'prefix' | 'directory'> & { readonly names?: readonly string[] },
  ): Promise<GrowthOutcome> {
    const before = new Map(this.#server.requests);
    const full: GrowthJob = {
      names: [],
      concurrency: 4,
      capSeconds: this.#options.capSeconds,
      endpoint: this.#server.endpoint,
      bucket,
      ...job,
    };
    const env = { ...baseEnvironment(), AWS_ACCESS_KEY_ID: credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey };
    const program = fileURLToPath(new URL('../ours/archive-directory.ts', import.meta.url));
    const printed = await runCommand(process.execPath, [program, JSON.stringify(full)], { env, cwd: this.#directory });
    const outcome = JSON.parse(printed) as GrowthOutcome;
    const requests = Object.fromEntries(
      [...this.#server.requests]
        .map(([operation, count]) => [operation, count - (before.get(operation) ?? 0)] as const)
        .filter(([, count]) => count > 0),
    );
    this.rows.push({ work, dataBytes, outcome, requests });
    this.#options.say(
      `${work}: ${outcome.seconds.toFixed(1)} s, ${Math.round(outcome.peakBytes / mebibyte)} MiB, ${JSON.stringify(requests)}`,
    );
    return outcome;
  }
}

/** A segment whose first page header is right, in PostgreSQL 17's form (access/xlog_internal.h, XLogLongPageHeaderData). */
function segmentWith(number: bigint, filler: string): Buffer {
  const bytes = Buffer.from(filler, 'latin1');
  bytes.writeUInt16LE(0xd116, 0);
  bytes.writeUInt16LE(0x0002, 2);
  bytes.writeUInt32LE(1, 4);
  bytes.writeBigUInt64LE(number * BigInt(segmentBytes), 8);
  bytes.writeUInt32LE(0, 16);
  bytes.writeUInt32LE(0, 20);
  bytes.writeBigUInt64LE(7_570_000_000_000_000_001n, 24);
  bytes.writeUInt32LE(segmentBytes, 32);
  bytes.writeUInt32LE(8192, 36);
  return bytes;
}
