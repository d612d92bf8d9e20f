import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backupManifestBytes, backupManifestDocument, manifestEntry } from '../../src/archive/documents/backup-manifest.ts';
import { parseExactJson, stringifyExactJson } from '../../src/archive/documents/exact-json.ts';
import { fileListPiece, filesMetadataDocument, formatNanoseconds, parseTarFileSets } from '../../src/archive/documents/files-metadata.ts';
import { HeldText } from '../../src/archive/documents/held-text.ts';
import { sealJson, unsealJson } from '../../src/archive/documents/sealed-json.ts';
import { type BackupMetadata, parseMetadata, stringifyMetadata } from '../../src/archive/documents/metadata-json.ts';
import * as layout from '../../src/archive/layout.ts';
import { parseSentinel, stringifySentinel } from '../../src/archive/sentinel.ts';
import { lsn } from '../../src/domain/lsn.ts';

const unsigned64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

function metadataWith(startLsn: bigint, finishLsn: bigint, systemIdentifier: bigint): BackupMetadata {
  return {
    startTime: '2026-08-21T20:02:35.123457Z',
    finishTime: '2026-08-21T20:02:41.5Z',
    hostname: 'db1',
    dataDirectory: '/var/lib/postgresql/16/main',
    pgVersion: 160014,
    startLsn: lsn(startLsn),
    finishLsn: lsn(finishLsn),
    isPermanent: false,
    systemIdentifier,
    uncompressedBytes: 31457280,
    compressedBytes: 4194304,
  };
}
const extras = { tablespaces: undefined, filesMetadataDisabled: false, dataCatalogBytes: 31600000 };

describe('documents', () => {
  it('parseExactJson and stringifyExactJson keep every digit of 64-bit numbers, bare', () => {
    fc.assert(
      fc.property(unsigned64, (value) => {
        const text = stringifyExactJson({ LSN: value });
        expect(text).toBe(`{"LSN":${value}}`);
        expect(BigInt((parseExactJson(text) as { LSN: number | bigint }).LSN)).toBe(value);
      }),
    );
  });

  it('sentinel and metadata.json give back exact positions and identifiers', () => {
    fc.assert(
      fc.property(unsigned64, unsigned64, unsigned64, (startLsn, finishLsn, systemIdentifier) => {
        const metadata = metadataWith(startLsn, finishLsn, systemIdentifier);
        expect(parseMetadata(stringifyMetadata(metadata))).toEqual(metadata);
        expect(parseSentinel(stringifySentinel(metadata, extras))).toMatchObject({
          startLsn,
          finishLsn,
          systemIdentifier,
          pgVersion: 160014,
        });
      }),
    );
  });

  it('stringifySentinel writes the members of version 2 in WAL-G’s types', () => {
    const text = stringifySentinel(metadataWith(83886120n, 83886392n, 7363930461245906978n), {
      ...extras,
      tablespaces: { basePrefix: '/data', tablespaces: [{ oid: '16385', location: '/mnt/ts1' }] },
    });
    expect(text).toContain('"SystemIdentifier":7363930461245906978');
    expect(JSON.parse(text)).toMatchObject({
      LSN: 83886120,
      Version: 2,
      ChkpNum: null,
      Spec: { base_prefix: '/data', tablespaces: ['16385'], 16385: { loc: '/mnt/ts1', link: 'pg_tblspc/16385' } },
    });
  });

  it('parseSentinel reads other cases of names, null specs, WAL-E’s spec and the old name of DeltaLSN', () => {
    expect(parseSentinel('{"lsn":5,"SPEC":null,"finishlsn":null}')).toMatchObject({
      startLsn: 5n,
      finishLsn: undefined,
      tablespaces: undefined,
    });
    const walE = '{"spec":{"base_prefix":"/data/","tablespaces":["1"],"1":{"loc":"/mnt/ts/","link":"pg_tblspc/1"}}}';
    expect(parseSentinel(walE)).toMatchObject({ startLsn: undefined, tablespaces: { tablespaces: [{ oid: '1', location: '/mnt/ts' }] } });
    const delta = { LSN: 9, DeltaFrom: 'base_1', DeltaFullName: 'base_0', DeltaFromLSN: 5, DeltaCount: 2 };
    expect(parseSentinel(JSON.stringify(delta)).delta).toEqual({ from: 'base_1', fullName: 'base_0', startLsn: 5n, stepCount: 2 });
    expect(() => parseSentinel('{"LSN":"5"}')).toThrow('"LSN" of the sentinel is not a whole number');
    expect(() => parseSentinel('{"DeltaFrom":"base_1"}')).toThrow('DeltaLSN');
    expect(() => parseSentinel('[]')).toThrow(SyntaxError);
  });

  it('filesMetadataDocument joins its pieces into one document', () => {
    const changedNs = 1_755_806_401_123_456_700n;
    const pieces = [
      fileListPiece('part_001.tar.zst', [{ name: '/größe "x"', changedNs }]),
      fileListPiece('part_002.tar.zst', []),
      fileListPiece('part_003.tar.zst', [{ name: '/', changedNs: 0n }]),
    ];
    const text = Buffer.concat([...filesMetadataDocument(pieces, { tars: { 'backup_label.tar.zst': ['backup_label'] } })]).toString();
    expect(JSON.parse(text)).toMatchObject({
      Files: { '/größe "x"': { IsSkipped: false, MTime: '2025-08-21T20:00:01.1234567Z' }, '/': { MTime: '1970-01-01T00:00:00Z' } },
    });
    expect(parseTarFileSets(text).get('part_001.tar.zst')).toEqual(['/größe "x"']);
    expect([...parseTarFileSets(text).keys()]).toEqual([
      'part_001.tar.zst',
      'part_002.tar.zst',
      'part_003.tar.zst',
      'backup_label.tar.zst',
    ]);
  });

  it('backupManifestBytes knows the length of a manifest that is made later, piece by piece', () => {
    const entry = (path: string) => manifestEntry({ path, sizeBytes: 1, changedNs: 0n, checksum: '00000000' });
    for (const texts of [[], [''], [`${entry('base/größe')},\n${entry('b')}`, '', entry('c')]]) {
      const pieces = texts.map((text) => new HeldText(text));
      for (const pgVersion of [160_014, 170_000]) {
        const facts = { pgVersion, systemIdentifier: '7', timeline: 1, startLsn: '0/5000028', finishLsn: '0/5000100' };
        const manifest = Buffer.concat([...backupManifestDocument(facts, pieces)]);
        expect(backupManifestBytes(facts, pieces)).toBe(manifest.length);
        const { Files } = JSON.parse(manifest.toString()) as { Files: { Path: string }[] };
        expect(Files.map(({ Path }) => Path)).toEqual(texts.length === 3 ? ['base/größe', 'b', 'c'] : []);
      }
    }
  });

  it('unsealJson refuses a sealed text with a flipped character, and passes one without a seal', () => {
    const sealed = sealJson('{"LSN":83886120}');
    expect(unsealJson(sealed)).toBe('{"LSN":83886120}');
    expect(() => unsealJson(sealed.replace('120', '121'))).toThrow(SyntaxError);
    expect(unsealJson('{"LSN":1}')).toBe('{"LSN":1}');
    expect(JSON.parse(sealed)).toHaveProperty('WalkbackSha256');
  });

  it('formatNanoseconds is exact before 1970 too', () => {
    expect(formatNanoseconds(-1n)).toBe('1969-12-31T23:59:59.999999999Z');
  });
});

describe('layout', () => {
  it('parseWalKey takes apart what walKey makes, for every extension', () => {
    const digits = (length: number) =>
      fc.string({ unit: fc.constantFrom('0', '1', '7', '9', 'A', 'F'), minLength: length, maxLength: length });
    const names = fc.oneof(
      digits(24),
      digits(24).map((text) => `${text}.partial`),
      digits(8).map((text) => `${text}.history`),
      fc.tuple(digits(24), digits(8)).map(([segment, offset]) => `${segment}.${offset}.backup`),
    );
    fc.assert(
      fc.property(names, fc.constantFrom(...layout.storedExtensions), (name, extension) => {
        expect(layout.parseWalKey(layout.walKey(name, extension))).toEqual({ name, extension });
      }),
    );
  });

  it('parseWalKey takes a dangling dot for uncompressed and leaves out deltas and sidecars', () => {
    const segment = 'wal_005/000000010000000000000010';
    expect(layout.parseWalKey(`${segment}.`)).toEqual({ name: segment.slice(8), extension: '' });
    for (const key of [`${segment}_delta.lz4`, `${segment}.json`, `${segment}.zip`, 'wal_005/x', `other/${segment}`])
      expect(layout.parseWalKey(key)).toBeUndefined();
  });

  it('tells the tars of a backup apart', () => {
    expect(['part_001.tar.zst', 'pg_control.tar.lz4', 'pg_control.tar.', 'backup_label.tar', 'copy_1.tar'].map(layout.tarKind)).toEqual([
      'part',
      'pg-control',
      'pg-control',
      'backup-label',
      'part',
    ]);
    expect(['part_001.tar', 'part_001.tar.', 'part_001.tar.zst'].map(layout.extensionOfTar)).toEqual(['', '', 'zst']);
    expect([layout.partFileName(7, 'zst'), layout.partFileName(1234, '')]).toEqual(['part_007.tar.zst', 'part_1234.tar']);
  });

  it('knows sentinels and names of backups', () => {
    expect(layout.backupOfSentinelKey(layout.sentinelKey('base_x'))).toBe('base_x');
    expect(layout.backupOfSentinelKey('basebackups_005/base_x/metadata.json')).toBeUndefined();
    const delta = 'base_000000010000000000000007_D_000000010000000000000005';
    const keys = [
      layout.sentinelKey(delta),
      layout.manifestKey(delta),
      layout.metadataKey(delta),
      `${layout.tarPartitionsPrefix(delta)}part_001.tar.zst`,
    ];
    expect(keys.map(layout.backupOfKey)).toEqual(keys.map(() => delta));
    expect(layout.backupOfKey('wal_005/000000010000000000000007.zst')).toBeUndefined();
    expect(layout.timelineOfBackupName('base_0000000A0000000000000009_D_000000010000000000000005')).toBe(10);
    expect(layout.isFullBackupName('base_0000000A0000000000000009_D_000000010000000000000005')).toBe(false);
  });
});
