/** Options from environment variables: our own names, and those of WAL-G and WAL-E for storage and credentials. */
import { WalkbackError } from '../domain/errors.ts';
import { nearestName } from './nearest-name.ts';
import { type ConfigurationOption, configurationOptions } from './options.ts';

/** Variables, from the process or from an envdir folder. An empty value counts as unset, as in WAL-G and daemontools. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Options found in an environment, before they are checked. */
export interface EnvironmentOptions {
  /** Path in walkback.yaml → value. */
  readonly options: readonly { readonly path: readonly string[]; readonly value: string | number | boolean }[];
  /** WALG_S3_PREFIX and its kin: the archive of the only cluster. */
  readonly walgArchive: { readonly variable: string; readonly url: string } | undefined;
}

/**
 * Names of WAL-G and WAL-E for options of ours. Where several are set the first wins: the plain name, then WALG_, then WALE_
 * (wal-g: internal/storage_adapter.go, loadSettings). Our own WALKBACK_ name comes before all of them.
 */
export const walgNames: readonly { readonly option: string; readonly variables: readonly string[] }[] = [
  { option: 'storage.endpoint', variables: withPrefixes('AWS_ENDPOINT') },
  { option: 'storage.region', variables: withPrefixes('AWS_REGION') },
  { option: 'storage.force_path_style', variables: withPrefixes('AWS_S3_FORCE_PATH_STYLE') },
  { option: 'storage.storage_class', variables: withPrefixes('S3_STORAGE_CLASS') },
  { option: 'storage.sse', variables: withPrefixes('S3_SSE') },
  { option: 'storage.sse_kms_key_id', variables: withPrefixes('S3_SSE_KMS_ID') },
  { option: 'storage.compression', variables: ['WALG_COMPRESSION_METHOD'] },
  { option: 'storage.libsodium_key_file', variables: ['WALG_LIBSODIUM_KEY_PATH'] },
  { option: 'storage.libsodium_key_transform', variables: ['WALG_LIBSODIUM_KEY_TRANSFORM'] },
  { option: 'storage.pgp_key_file', variables: ['WALG_PGP_KEY_PATH'] },
  { option: 'storage.upload_concurrency', variables: ['WALG_UPLOAD_CONCURRENCY'] },
  { option: 'storage.download_concurrency', variables: ['WALG_DOWNLOAD_CONCURRENCY'] },
];

/** The archive itself. S3 comes before a directory (wal-g: internal/storage_adapter.go, StorageAdapters). */
export const walgPrefixVariables = ['WALG_S3_PREFIX', 'WALE_S3_PREFIX', 'WALG_FILE_PREFIX', 'WALE_FILE_PREFIX'] as const;

const ownPrefix = 'WALKBACK_';
/** Where the demo and the tests find a program (scripts/setup.mjs); it only looks like an option of `temporal:`. */
const toolVariables: ReadonlySet<string> = new Set(['WALKBACK_TEMPORAL_BIN']);

/** Reads what an environment says. @throws WalkbackError INVALID_CONFIGURATION, naming the variable and never its value */
export function readEnvironment(environment: Environment, clusterNames: readonly string[]): EnvironmentOptions {
  const own = ownVariables(clusterNames);
  refuseUnknown(environment, own);
  const found = new Map<string, EnvironmentOptions['options'][number]>();
  for (const [variable, option] of [...borrowedVariables(), ...own]) {
    const text = environment[variable];
    if (text === undefined || text === '') continue;
    found.set(option.path.join('.'), { path: option.path, value: valueOf(variable, text, option) });
  }
  return { options: [...found.values()], walgArchive: walgArchiveOf(environment) };
}

/** Name of our own variable for an option: the path in capitals. */
export function ownVariableOf(path: readonly string[]): string {
  return ownPrefix + path.join('_').toUpperCase().replaceAll('-', '_');
}

/** Later ones win, so the variables of each option come in reverse. */
function borrowedVariables(): readonly (readonly [string, ConfigurationOption])[] {
  return walgNames.flatMap(({ option: path, variables }) => {
    const option = configurationOptions.find((known) => known.path.join('.') === path);
    return option === undefined ? [] : variables.toReversed().map((variable) => [variable, option] as const);
  });
}

function ownVariables(clusterNames: readonly string[]): ReadonlyMap<string, ConfigurationOption> {
  const options = configurationOptions.flatMap((option) =>
    option.path[1] === '*'
      ? clusterNames.map((name) => ({ ...option, path: option.path.map((part) => (part === '*' ? name : part)) }))
      : [option],
  );
  return new Map(options.map((option) => [ownVariableOf(option.path), option]));
}

/** Only below our own sections: WALKBACK_CONFIG and variables of tools and tests are nobody's mistake. */
function refuseUnknown(environment: Environment, own: ReadonlyMap<string, ConfigurationOption>): void {
  const sections = [...new Set(configurationOptions.map(({ path }) => `${ownVariableOf(path.slice(0, 1))}_`))];
  for (const variable of Object.keys(environment)) {
    if (own.has(variable) || toolVariables.has(variable) || !sections.some((section) => variable.startsWith(section))) continue;
    const nearest = nearestName(variable, own.keys());
    throw new WalkbackError(
      'INVALID_CONFIGURATION',
      `${variable}: unknown option${nearest === undefined ? '' : `, did you mean ${nearest}?`}`,
      {
        hint: variable.startsWith(`${ownPrefix}CLUSTERS_`)
          ? 'A cluster must be in walkback.yaml before a variable can change it.'
          : undefined,
      },
    );
  }
}

function valueOf(variable: string, text: string, option: ConfigurationOption): string | number | boolean {
  if (option.kind === 'text') return text;
  if (option.kind === 'number' && /^\d+$/.test(text)) return Number(text);
  if (option.kind === 'boolean' && /^(true|false|1|0)$/i.test(text)) return /^(true|1)$/i.test(text);
  const form = { number: 'must be a whole number', boolean: 'must be true or false', list: 'is a list: set it in walkback.yaml' }[
    option.kind
  ];
  throw new WalkbackError('INVALID_CONFIGURATION', `${variable} (${option.path.join('.')}) ${form}.`);
}

/** WAL-G takes a plain directory, or one after `file://localhost` (storages/fs/configure.go). */
function walgArchiveOf(environment: Environment): EnvironmentOptions['walgArchive'] {
  const variable = walgPrefixVariables.find((name) => (environment[name] ?? '') !== '');
  if (variable === undefined) return undefined;
  const value = environment[variable] ?? '';
  const isDirectory = variable.endsWith('_FILE_PREFIX');
  return { variable, url: isDirectory ? `file://${value.replace(/^file:\/\/(localhost)?/, '')}` : value };
}

function withPrefixes(name: string): readonly string[] {
  return [name, `WALG_${name}`, `WALE_${name}`];
}
