import { describe, expect, it } from 'vitest';
import { diskCheck, type HostFacts, sourceChecks } from '../../src/domain/host-checks.ts';
import { errorOfChecks, found, type PlanCheck, type PlanCheckName } from '../../src/domain/plan-check.ts';
import type { SourceRecord } from '../../src/domain/source-record.ts';
import { gibibyte, sameHost, sourceRecord } from './support/source-record.ts';

const strict = { missingLibraries: false };

function checkOf(
  name: PlanCheckName,
  change: { readonly host?: Partial<HostFacts>; readonly source?: Partial<SourceRecord>; readonly allow?: typeof strict } = {},
): PlanCheck {
  const checks = sourceChecks({ ...sourceRecord, ...change.source }, { ...sameHost, ...change.host }, change.allow ?? strict);
  const check = checks.find((candidate) => candidate.name === name);
  if (check === undefined) throw new Error(`there is no check "${name}"`);
  return check;
}

describe('sourceChecks', () => {
  it('sourceChecks finds everything right on the host that the source ran on', () => {
    const checks = sourceChecks(sourceRecord, sameHost, strict);
    expect(checks.filter(({ verdict }) => verdict !== 'ok')).toEqual([]);
    expect(errorOfChecks(checks)).toBeUndefined();
  });

  it('sourceChecks knows nothing when the backup has no record of its source', () => {
    const checks = sourceChecks(undefined, sameHost, strict);
    expect(new Set(checks.map(({ verdict }) => verdict))).toEqual(new Set(['unknown']));
    expect(checks.map(({ name }) => name)).toEqual(sourceChecks(sourceRecord, sameHost, strict).map(({ name }) => name));
  });

  it('sourceChecks refuses a host without a library of an extension, and names library and extensions', () => {
    const check = checkOf('libraries', { host: { absentLibraries: ['$libdir/postgis-3'] } });
    expect(check).toMatchObject({ verdict: 'refusal', refusal: { code: 'LIBRARY_MISSING', facts: { libraries: ['$libdir/postgis-3'] } } });
    expect(check.text).toBe(
      'Libraries that functions of the source are in are not on this host: $libdir/postgis-3. Extensions of the source: hstore 1.8, postgis 3.4.2.',
    );
  });

  it('sourceChecks only warns of a missing library when that is allowed', () => {
    const check = checkOf('libraries', { host: { absentLibraries: ['$libdir/postgis-3'] }, allow: { missingLibraries: true } });
    expect(check).toMatchObject({ verdict: 'warning', refusal: null });
  });

  it.each([
    ['libraries', { host: { absentLibraries: undefined } }, 'unknown', 'where this host keeps such libraries is not known'],
    ['libraries', { source: { functionLibraries: [], databasesLeftOut: 2 } }, 'ok', '2 databases could not be looked into'],
    ['preload-libraries', { host: { absentPreloadLibraries: ['pg_cron'] } }, 'warning', 'Left out of shared_preload_libraries'],
    ['collations', { host: { glibcVersion: '2.41' } }, 'warning', 'glibc was 2.36 and is 2.41 (the order of shop: de_DE.UTF-8)'],
    ['collations', { host: { icuMajor: 76 } }, 'warning', 'ICU was 72 and is 76 (no database has it as its own order)'],
    ['collations', { host: { glibcVersion: null } }, 'warning', 'glibc was 2.36 and is not known'],
    ['architecture', { host: { architecture: 'arm64' } }, 'warning', 'The source is x64, this host arm64'],
    ['memory', { host: { memoryBytes: 4 * gibibyte } }, 'warning', "opened with PostgreSQL's default instead"],
    ['memory', { host: { memoryBytes: 6 * gibibyte } }, 'warning', 'may run short of it'],
    ['memory', { host: { freeMemoryBytes: 100 * 1024 * 1024 } }, 'warning', 'Recovery itself takes about'],
    ['memory', { source: { hugePages: 'on' as const } }, 'warning', 'it runs without'],
    ['memory', { source: { hugePages: 'on' as const }, host: { freeHugePages: null } }, 'warning', 'it runs without'],
    [
      'memory',
      { source: { hugePages: 'on' as const }, host: { freeHugePages: { count: 2048, pageBytes: 2 * 1024 * 1024 } } },
      'ok',
      'shared_buffers',
    ],
    ['settings', {}, 'ok', 'max_connections = 200, max_locks_per_transaction = 64'],
    ['settings', { host: { processesMaximum: 100 } }, 'warning', 'up to 218 processes, and this user may have 100'],
    ['settings', { host: { processesMaximum: null } }, 'ok', 'max_connections = 200'],
  ] as const)('sourceChecks says of %s with %j: %s', (name, change, verdict, text) => {
    const check = checkOf(name, change);
    expect(check.verdict).toBe(verdict);
    expect(check.text).toContain(text);
  });

  it('sourceChecks counts no database whose order is that of bytes when glibc differs', () => {
    const locales = ['C', 'POSIX', 'C.UTF-8'].map((locale) => ({
      database: `in-${locale}`,
      provider: 'libc' as const,
      locale,
      version: null,
    }));
    const check = checkOf('collations', { source: { locales }, host: { glibcVersion: '2.41' } });
    expect(check.text).toContain('(no database has it as its own order)');
  });
});

describe('diskCheck', () => {
  it('diskCheck refuses when the restore needs a byte more than is free', () => {
    expect(diskCheck({ path: '/srv', freeBytes: 100, neededBytes: 100 }).verdict).toBe('ok');
    const check = diskCheck({ path: '/srv', freeBytes: 100, neededBytes: 101 });
    expect(check).toMatchObject({ verdict: 'refusal', text: '/srv has 100 bytes free; the restore needs about 101.' });
  });
});

describe('errorOfChecks', () => {
  it('errorOfChecks has the code of the first refusal and the sentences of all', () => {
    const disk = diskCheck({ path: '/srv', freeBytes: 1, neededBytes: 2 });
    const library = checkOf('libraries', { host: { absentLibraries: ['$libdir/hstore'] } });
    const error = errorOfChecks([found('port', 'ok', 'Port 5433 is free.'), disk, library]);
    expect(error).toMatchObject({
      code: 'NOT_ENOUGH_DISK',
      message: `${disk.text} ${library.text}`,
      facts: { freeBytes: 1, neededBytes: 2 },
    });
  });
});
