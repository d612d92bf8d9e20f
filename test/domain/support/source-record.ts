/** A source on a common machine. */
import type { HostFacts } from '../../../src/domain/host-checks.ts';
import type { SourceRecord } from '../../../src/domain/source-record.ts';

export const gibibyte = 1024 ** 3;

export const sourceRecord: SourceRecord = {
  recordedAt: '2026-11-22T10:00:00.000000Z',
  version: 'PostgreSQL 16.4 on x86_64-pc-linux-gnu, compiled by gcc, 64-bit',
  architecture: 'x64',
  glibcVersion: '2.36',
  icuMajor: 72,
  sharedBuffersBytes: 4 * gibibyte,
  hugePages: 'try',
  minimums: {
    max_connections: 200,
    max_worker_processes: 8,
    max_wal_senders: 10,
    max_prepared_transactions: 0,
    max_locks_per_transaction: 64,
  },
  preloadLibraries: ['pg_stat_statements'],
  functionLibraries: ['$libdir/hstore', '$libdir/postgis-3'],
  extensions: [
    { database: 'shop', name: 'hstore', version: '1.8' },
    { database: 'shop', name: 'postgis', version: '3.4.2' },
  ],
  locales: [{ database: 'shop', provider: 'libc', locale: 'de_DE.UTF-8', version: '2.36' }],
  databasesLeftOut: 0,
};

/** The host that the source ran on. */
export const sameHost: HostFacts = {
  architecture: 'x64',
  glibcVersion: '2.36',
  icuMajor: 72,
  memoryBytes: 16 * gibibyte,
  freeMemoryBytes: 8 * gibibyte,
  freeHugePages: { count: 0, pageBytes: 2 * 1024 * 1024 },
  processesMaximum: 63_000,
  absentLibraries: [],
  absentPreloadLibraries: [],
};
