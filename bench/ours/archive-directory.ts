/**
 * Archives a directory as a base backup, fetches one, or pushes WAL, in a process of its own whose memory is that of the work alone; says in one line
 * of JSON what it took. The first argument is a GrowthJob in JSON.
 */
import { readFileSync } from 'node:fs';
import type * as Completion from '../../src/archive/base-backup-completion.ts';
import type * as Fetching from '../../src/archive/base-backup-fetch.ts';
import type * as Pushing from '../../src/archive/base-backup-push.ts';
import type * as WalArchives from '../../src/archive/wal-archive.ts';
import type * as S3Stores from '../../src/storage/s3-object-store.ts';
import { built } from '../built.ts';
import { backupStart, backupStop, type GrowthJob, type GrowthOutcome } from '../growth/growth-job.ts';

await built('files/thread-pool.js');
const { createWalArchive } = await built<typeof WalArchives>('archive/wal-archive.js');
const { completeBaseBackup } = await built<typeof Completion>('archive/base-backup-completion.js');
const { fetchBaseBackup } = await built<typeof Fetching>('archive/base-backup-fetch.js');
const { uploadBaseBackup } = await built<typeof Pushing>('archive/base-backup-push.js');
const { createS3ObjectStore } = await built<typeof S3Stores>('storage/s3-object-store.js');

const job = JSON.parse(process.argv[2] ?? '') as GrowthJob;
const store = createS3ObjectStore({
  bucket: job.bucket,
  prefix: job.prefix,
  endpoint: job.endpoint,
  credentials: { accessKeyId: process.env['AWS_ACCESS_KEY_ID'] ?? '', secretAccessKey: process.env['AWS_SECRET_ACCESS_KEY'] ?? '' },
});
const deadline = AbortSignal.timeout(job.capSeconds * 1000);
let bytesDone = 0;

const works: Readonly<Record<GrowthJob['kind'], () => Promise<void>>> = {
  push: async () => {
    const uploaded = await uploadBaseBackup({
      store,
      dataDirectory: job.directory,
      compression: 'zstd',
      concurrency: job.concurrency,
      pages: { blockBytes: 8192, segmentBlocks: 131_072, hasChecksums: true },
      start: backupStart,
      stop: async () => backupStop,
      signal: deadline,
      onProgress: (progress) => {
        bytesDone = progress.bytesDone;
      },
    });
    await completeBaseBackup(store, uploaded);
  },
  fetch: async () => {
    await fetchBaseBackup({
      store,
      backup: backupStart.name,
      into: job.directory,
      stateDirectory: `${job.directory}/walkback_restore`,
      concurrency: job.concurrency,
      signal: deadline,
      onProgress: (progress) => {
        bytesDone = progress.bytesDone;
      },
    });
  },
  'wal-push': async () => {
    const archive = createWalArchive(store, { compression: 'zstd', segmentBytes: 16 * 1024 * 1024 });
    for (const name of job.names) await archive.push({ name, path: `${job.directory}/${name}`, systemIdentifier: undefined });
  },
  'wal-fetch': async () => {
    const archive = createWalArchive(store, { compression: 'zstd', segmentBytes: 16 * 1024 * 1024 });
    for (const name of job.names) await archive.fetch({ name, destination: `${job.directory}/fetched` });
  },
};

const startedMs = performance.now();
const isComplete = await works[job.kind]().then(
  () => true,
  (error: unknown) => {
    if (deadline.aborted) return false;
    throw error;
  },
);
const { userCPUTime, systemCPUTime } = process.resourceUsage();
// Not maxRSS: there Linux counts the memory of the process that started this one (exec keeps it), and the S3 server's objects lie in that.
const [, peakKib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
const outcome: GrowthOutcome = {
  isComplete,
  bytesDone,
  seconds: (performance.now() - startedMs) / 1000,
  cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
  peakBytes: Number(peakKib) * 1024,
};
process.stdout.write(`${JSON.stringify(outcome)}\n`);
process.exit(0);
