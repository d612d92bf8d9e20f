import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { archiveUrlForNewCluster, archiveUrlOf, clusterOf } from '../../src/config/configuration.ts';
import { ownVariableOf, walgNames, walgPrefixVariables } from '../../src/config/environment.ts';
import { type LoadedConfiguration, loadConfiguration } from '../../src/config/load.ts';
import { type ConfigurationOption, configurationOptions } from '../../src/config/options.ts';
import { foreignEncryptionVariables, keyVariables, secretVariables } from '../../src/config/secrets.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'walkback-config-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const oneCluster = 'clusters:\n  shop:\n    data_directory: /data\n';
const twoClusters = `${oneCluster}  till:\n    data_directory: /till\n`;

/** Loads the text as walkback.yaml. */
async function load(text: string, environment: Record<string, string> = {}): Promise<LoadedConfiguration> {
  await writeFile(join(directory, 'walkback.yaml'), text);
  return loadConfiguration({ environment, workingDirectory: directory });
}

async function writeEnvdir(variables: Record<string, string>): Promise<string> {
  const envdir = join(directory, 'env');
  await mkdir(envdir, { mode: 0o700 });
  for (const [name, value] of Object.entries(variables)) await writeFile(join(envdir, name), value, { mode: 0o600 });
  return envdir;
}

describe('loadConfiguration', () => {
  it('gives every option its default when the file says little', async () => {
    const { configuration } = await load(`host: { id: db-1 }\n${oneCluster}`);
    expect(configuration).toMatchObject({
      file: join(directory, 'walkback.yaml'),
      host: {
        id: 'db-1',
        stateDirectory: '/var/lib/walkback',
        socket: '/var/lib/walkback/agent.sock',
        runDirectory: '/var/lib/walkback/run',
      },
      storage: { compression: 'zstd', uploadConcurrency: 4, partSizeMib: 16, forcePathStyle: false },
      clusters: [
        { name: 'shop', host: 'db-1', dataDirectory: '/data', socketDirectory: '/var/run/postgresql', port: 5432, user: 'postgres' },
      ],
      temporal: { taskQueue: 'walkback' },
      logging: { level: 'info', format: 'json' },
    });
  });

  it('takes a section of comments only as empty', async () => {
    expect((await load('storage:\n  # endpoint: x\n')).configuration.storage.compression).toBe('zstd');
  });

  it('loads the example file', async () => {
    const file = fileURLToPath(new URL('../../walkback.example.yaml', import.meta.url));
    const { configuration } = await loadConfiguration({ file, environment: {}, workingDirectory: directory });
    expect(archiveUrlOf(configuration, 'shop')).toBe('s3://backups/postgres/shop');
  });

  it('shows every option in the example file', async () => {
    const lines = (await readFile(new URL('../../walkback.example.yaml', import.meta.url), 'utf8')).split('\n');
    const options = lines.flatMap((line) => /^(?: {2}){1,2}(?:# )?([a-z_]+):/.exec(line)?.[1] ?? []);
    expect(new Set(options)).toEqual(new Set([...configurationOptions.map(({ path }) => path.at(-1)), 'shop']));
  });

  it('looks for the file in its four places, in order', async () => {
    await writeFile(join(directory, 'walkback.yaml'), 'host: { id: here }');
    await writeFile(join(directory, 'named.yaml'), 'host: { id: named }');
    await writeFile(join(directory, 'given.yaml'), 'host: { id: given }');
    const environment = { WALKBACK_CONFIG: 'named.yaml' };
    const idOf = async (options: { file?: string; environment: Record<string, string> }) =>
      (await loadConfiguration({ ...options, workingDirectory: directory })).configuration.host.id;
    expect(await idOf({ file: 'given.yaml', environment })).toBe('given');
    expect(await idOf({ environment })).toBe('named');
    expect(await idOf({ environment: {} })).toBe('here');
    await expect(idOf({ file: 'absent.yaml', environment })).rejects.toThrow('absent.yaml does not exist');
  });

  it('loadConfiguration leaves the variables alone that name programs for the demo and the tests', async () => {
    const environment = { WALKBACK_TEMPORAL_BIN: '/usr/bin/temporal', WALKBACK_PG_BIN: '/usr/lib/postgresql/17/bin' };
    const { configuration } = await loadConfiguration({ environment, workingDirectory: directory });
    expect(configuration.temporal.profile).toBeUndefined();
  });

  it.each([
    ['clusters:\n  shop: { data_directory: /d, prot: 1 }', 'clusters.shop.prot: unknown option, did you mean port?'],
    ['storge: {}', 'storge: unknown option, did you mean storage?'],
    ['storage: { compresion: zstd }', 'storage.compresion: unknown option, did you mean compression?'],
    ['storage: { zzzzzzzz: 1 }', 'storage.zzzzzzzz: unknown option'],
    ['storage: { compression: lzma }', 'storage.compression: "lzma" is not written; use one of zstd, lz4, brotli, none'],
    ['storage: { sse: "aws:kms" }', 'storage.sse_kms_key_id: belongs to'],
    ['storage: { prefix: /backups }', 'storage.prefix: must be s3://bucket/prefix or file:///directory'],
    ['storage: { endpoint: "http://me:secret@s3.example" }', 'storage.endpoint: must not hold credentials'],
    ['storage: 5', 'storage: Invalid input'],
    ['clusters: { "a/b": { data_directory: /d } }', 'clusters.a/b: the name must be'],
    ['clusters: { shop: {} }', 'clusters.shop.data_directory: Invalid input'],
    ['clusters: { shop: { data_directory: /d, port: 70000 } }', 'clusters.shop.port: Too big'],
    [`host: { socket: /${'x'.repeat(100)} }`, 'host.socket: must be at most 100 bytes long'],
    [`host: { state_directory: /${'x'.repeat(95)} }`, 'host.state_directory: leaves no room'],
    ['- a list', 'must hold sections'],
    ['host: {', 'is not YAML'],
  ])('refuses %j', async (text, complaint) => {
    await expect(load(text)).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION', message: expect.stringContaining(complaint) });
  });

  it('has each option set by its own variable', async () => {
    const samples = { number: '7', boolean: 'true', list: '', text: '/text' };
    const special: Record<string, string> = {
      'host.id': 'db-9',
      'storage.prefix': 's3://b/x',
      'storage.endpoint': 'http://127.0.0.1:1',
      'storage.sse': 'aws:kms',
      'storage.compression': 'none',
      'storage.encryption': 'none',
      'storage.libsodium_key_transform': 'hex',
      'storage.envdir': '',
      'clusters.*.host': 'db-9',
      'clusters.*.archive': 's3://b/y',
      'backup.manifest_checksum': 'sha256',
      'backup.on_damaged_pages': 'fail',
      'logging.level': 'warn',
      'logging.format': 'pretty',
    };
    const settings = configurationOptions
      .map(({ path, kind }) => ({
        variable: ownVariableOf(path.map((part) => (part === '*' ? 'my-shop' : part))),
        value: special[path.join('.')] ?? samples[kind],
      }))
      .filter(({ value }) => value !== '');
    const environment = Object.fromEntries(settings.map(({ variable, value }) => [variable, value]));
    const { configuration } = await load('clusters: { my-shop: { data_directory: /d } }', environment);
    const shown = JSON.stringify(configuration);
    for (const { value } of settings) expect(shown).toContain(/^(\d+|true)$/.test(value) ? `:${value}` : `"${value}"`);
    expect(configuration.clusters[0]).toMatchObject({
      name: 'my-shop',
      host: 'db-9',
      archive: 's3://b/y',
      port: 7,
      dataDirectory: '/text',
    });
  });

  it.each([
    [{ WALKBACK_STORAGE_REGOIN: 'x' }, 'WALKBACK_STORAGE_REGOIN: unknown option, did you mean WALKBACK_STORAGE_REGION?'],
    [{ WALKBACK_CLUSTERS_TILL_PORT: '1' }, 'WALKBACK_CLUSTERS_TILL_PORT: unknown option'],
    [{ WALKBACK_CLUSTERS_SHOP_PORT: 'many' }, 'WALKBACK_CLUSTERS_SHOP_PORT (clusters.shop.port) must be a whole number'],
    [{ AWS_S3_FORCE_PATH_STYLE: 'perhaps' }, 'AWS_S3_FORCE_PATH_STYLE (storage.force_path_style) must be true or false'],
    [{ WALKBACK_HOST_POSTGRES_BIN_DIRECTORIES: '/x' }, 'is a list: set it in walkback.yaml'],
    [{ WALG_COMPRESSION_METHOD: 'lzma' }, '"lzma" is not written; use one of zstd, lz4, brotli, none'],
    [{ AWS_ACCESS_KEY_ID: 'AKIA' }, 'AWS_SECRET_ACCESS_KEY is not set'],
  ])('refuses the environment %j', async (environment, complaint) => {
    await expect(load(oneCluster, environment)).rejects.toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: expect.stringContaining(complaint),
    });
  });

  it('leaves variables alone that are none of its options', async () => {
    await expect(load(oneCluster, { WALKBACK_POSTGRES_BIN: '/x', WALKBACK_CONFIG: '', PATH: '/bin' })).resolves.toBeDefined();
  });

  it('prefers its own name, then the plain one, then WALG_, then WALE_', async () => {
    const environment = {
      WALE_S3_SSE: 'AES256',
      WALG_S3_STORAGE_CLASS: 'B',
      WALE_S3_STORAGE_CLASS: 'C',
      AWS_REGION: 'r',
      WALKBACK_STORAGE_REGION: 'own',
    };
    const { storage } = (await load(oneCluster, environment)).configuration;
    expect(storage).toMatchObject({ sse: 'AES256', storageClass: 'B', region: 'own' });
  });

  it('prefers the environment to the envdir folder, that to the file, and that to the default', async () => {
    const envdir = await writeEnvdir({ AWS_REGION: 'from-envdir', AWS_ENDPOINT: 'http://envdir.example \t\nsecond', S3_STORAGE_CLASS: '' });
    const text = `storage: { envdir: ${envdir}, region: from-file, endpoint: "http://file.example", storage_class: FILE }`;
    const { storage } = (await load(text, { WALE_AWS_REGION: 'from-environment' })).configuration;
    expect(storage).toMatchObject({
      region: 'from-environment',
      endpoint: 'http://envdir.example',
      storageClass: 'FILE',
      compression: 'zstd',
    });
  });
});

describe("WAL-G's prefix variables", () => {
  it.each([
    [{ WALG_S3_PREFIX: 's3://b/walg/', WALE_S3_PREFIX: 's3://b/wale' }, 's3://b/walg'],
    [{ WALE_S3_PREFIX: 's3://b/wale', WALG_FILE_PREFIX: '/walg' }, 's3://b/wale'],
    [{ WALG_FILE_PREFIX: '/backups' }, 'file:///backups'],
    [{ WALE_FILE_PREFIX: 'file://localhost/backups' }, 'file:///backups'],
  ])('make %j the archive of the only cluster, before storage.prefix', async (environment, archive) => {
    const { configuration } = await load(`storage: { prefix: s3://b/all }\n${oneCluster}`, environment);
    expect(archiveUrlOf(configuration, 'shop')).toBe(archive);
  });

  it('come from the environment before the envdir folder', async () => {
    const envdir = await writeEnvdir({ WALG_S3_PREFIX: 's3://b/envdir' });
    const { configuration } = await load(oneCluster, { WALKBACK_STORAGE_ENVDIR: envdir, WALE_S3_PREFIX: 's3://b/environment' });
    expect(archiveUrlOf(configuration, 'shop')).toBe('s3://b/environment');
  });

  it('do not replace the archive of the file', async () => {
    const { configuration } = await load(`${oneCluster}    archive: s3://b/own\n`, { WALG_S3_PREFIX: 's3://b/walg' });
    expect(archiveUrlOf(configuration, 'shop')).toBe('s3://b/own');
  });

  it('are refused when they could mean several clusters, and nothing without a cluster', async () => {
    const environment = { WALG_S3_PREFIX: 's3://b/walg' };
    await expect(load(twoClusters, environment)).rejects.toThrow('WALG_S3_PREFIX names one archive, but 2 clusters are configured');
    await expect(load('', environment)).resolves.toBeDefined();
  });
});

describe('secrets', () => {
  const environment = { AWS_ACCESS_KEY_ID: 'AKIASECRET1', AWS_SECRET_KEY: 'sEcReT2', AWS_SESSION_TOKEN: 'sEcReT3' };

  it('are read, and shown by no way of printing', async () => {
    const { configuration, secrets } = await load(oneCluster, environment);
    expect(secrets).toMatchObject({ awsAccessKeyId: 'AKIASECRET1', awsSecretAccessKey: 'sEcReT2', awsSessionToken: 'sEcReT3' });
    const shown = [JSON.stringify({ configuration, secrets }), inspect({ configuration, secrets }, { depth: 9 }), String(secrets)];
    for (const text of shown) expect(text).not.toMatch(/secret[123]/i);
  });

  it('come from one place: the keys of the environment hide those of the envdir folder', async () => {
    const envdir = await writeEnvdir({ AWS_ACCESS_KEY_ID: 'other', AWS_SECRET_ACCESS_KEY: 'other', AWS_SESSION_TOKEN: 'other' });
    const text = `storage: { envdir: ${envdir} }`;
    expect((await load(text, { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' })).secrets).toMatchObject({
      awsAccessKeyId: 'a',
      awsSessionToken: undefined,
    });
    expect((await load(text)).secrets).toMatchObject({ awsAccessKeyId: 'other', awsSessionToken: 'other' });
  });

  it('keys come each from the environment, else from the envdir folder, and are not shown either', async () => {
    const envdir = await writeEnvdir({ WALG_LIBSODIUM_KEY: 'from-envdir-SECRET', WALG_PGP_KEY: 'pgp-SECRET', WALE_GPG_KEY_ID: '0123' });
    const { secrets } = await load(`storage: { envdir: ${envdir} }`, { WALG_LIBSODIUM_KEY: 'SECRET', WALG_PGP_KEY_PASSPHRASE: 'SECRET' });
    expect(secrets).toMatchObject({ libsodiumKey: 'SECRET', pgpKey: 'pgp-SECRET', foreignEncryption: 'WALE_GPG_KEY_ID' });
    for (const text of [JSON.stringify(secrets), inspect(secrets), String(secrets)]) expect(text).not.toContain('SECRET');
  });

  it('are not taken from an envdir folder or file that others may read', async () => {
    const envdir = await writeEnvdir({ AWS_ACCESS_KEY_ID: 'a' });
    await chmod(join(envdir, 'AWS_ACCESS_KEY_ID'), 0o640);
    await expect(load(`storage: { envdir: ${envdir} }`)).rejects.toMatchObject({ hint: `Run: chmod 600 '${envdir}/AWS_ACCESS_KEY_ID'` });
    await chmod(envdir, 0o755);
    await expect(load(`storage: { envdir: ${envdir} }`)).rejects.toMatchObject({ hint: `Run: chmod 700 '${envdir}'` });
    await expect(load('storage: { envdir: /nonexistent/env }')).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION' });
  });
});

describe('archiveUrlForNewCluster', () => {
  it.each([
    ['storage: { prefix: s3://b/all }', 's3://b/all/child'],
    ['storage: { prefix: s3://b }', 's3://b/child'],
    ['{}', 's3://b/child', 's3://b/shop'],
    ['{}', 's3://b/x/child', 's3://b/x/shop'],
    ['{}', 'file:///srv/child', 'file:///srv/shop'],
  ])('with %s is %s', async (text, expected, archive = 's3://b/elsewhere/shop') => {
    const { configuration } = await load(JSON.stringify({ ...storageOf(text), clusters: { shop: { data_directory: '/d', archive } } }));
    expect(archiveUrlForNewCluster(configuration, 'shop', 'child')).toBe(expected);
  });

  it('is refused at the root of a bucket or file system', async () => {
    for (const archive of ['s3://bucket', 'file:///srv']) {
      const { configuration } = await load(`${oneCluster}    archive: ${archive}\n`);
      expect(() => archiveUrlForNewCluster(configuration, 'shop', 'child')).toThrow('root of its store');
    }
  });

  it('is refused when it is the archive of a configured cluster', async () => {
    const { configuration } = await load(
      `storage: { prefix: s3://b/all }\n${oneCluster}  till: { data_directory: /t, archive: s3://b/all/child }\n`,
    );
    for (const name of ['child', 'shop']) {
      expect(() => archiveUrlForNewCluster(configuration, 'shop', name)).toThrow(
        expect.objectContaining({ code: 'ARCHIVE_PREFIX_IN_USE' }),
      );
    }
    expect(() => archiveUrlForNewCluster(configuration, 'shop', '../x')).toThrow('cannot be the name');
  });
});

describe('clusterOf', () => {
  it('names the nearest known cluster when the name is unknown', async () => {
    const { configuration } = await load(twoClusters);
    expect(clusterOf(configuration, 'till').dataDirectory).toBe('/till');
    expect(() => clusterOf(configuration, 'shpo')).toThrow('No cluster "shpo" is configured, did you mean shop?');
    expect(() => archiveUrlOf(configuration, 'shop')).toThrow('Nothing says where the archive');
  });
});

describe('docs/configuration.md', () => {
  it('holds every option with its default, its sentence and its variable, and every borrowed name', async () => {
    const page = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
    for (const option of configurationOptions) expect(page).toContain(rowOf(option));
    const secretNames = [...Object.values({ ...secretVariables, ...keyVariables }).flat(), ...foreignEncryptionVariables];
    const variables = [...walgNames.flatMap((names) => names.variables), ...walgPrefixVariables, ...secretNames];
    for (const variable of variables) expect(page).toContain(`\`${variable}\``);
  });
});

/** How the page shows an option. */
function rowOf({ path, kind, default: value, description }: ConfigurationOption): string {
  const name = path.map((part) => (part === '*' ? '<name>' : part)).join('.');
  const shownDefault = value === undefined ? '–' : `\`${kind === 'list' ? JSON.stringify(value) : (value as string)}\``;
  const variable = kind === 'list' ? '' : ` Variable: \`${ownVariableOf(path.map((part) => (part === '*' ? '<NAME>' : part)))}\`.`;
  return `| \`${name}\` | ${shownDefault} | ${description}${variable} |`;
}

function storageOf(text: string): object {
  const prefix = /prefix: (\S+)/.exec(text)?.[1];
  return prefix === undefined ? {} : { storage: { prefix } };
}
