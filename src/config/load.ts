/** Reads the configuration: file, then envdir folder, then environment, each over the one before. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parse, YAMLParseError } from 'yaml';
import type { z } from 'zod';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import type { CamelCased, Configuration } from './configuration.ts';
import { type Environment, type EnvironmentOptions, readEnvironment } from './environment.ts';
import { readEnvdir } from './envdir.ts';
import { nearestName } from './nearest-name.ts';
import { knownNamesAt } from './options.ts';
import { configurationSchema, type ParsedConfiguration } from './schema.ts';
import { readSecrets, type Secrets } from './secrets.ts';

/** Where to look. */
export interface LoadOptions {
  /** Named on the command line; must exist. Default: WALKBACK_CONFIG, else ./walkback.yaml, else /etc/walkback/walkback.yaml, else no file. */
  readonly file?: string;
  readonly environment: Environment;
  readonly workingDirectory: string;
}

/** What was read. */
export interface LoadedConfiguration {
  readonly configuration: Configuration;
  readonly secrets: Secrets;
}

const systemFile = '/etc/walkback/walkback.yaml';

/** The file's content while environment variables are laid over it. */
type Draft = Record<string, unknown>;

/** Reads and checks everything. @throws WalkbackError INVALID_CONFIGURATION, naming the option or variable */
export async function loadConfiguration(options: LoadOptions): Promise<LoadedConfiguration> {
  const { file, draft } = await readFirstFile(options);
  const envdir = await readEnvdirOf(draft, options.environment);
  const clusterNames = Object.keys(sectionOf(draft, 'clusters'));
  const layers = [envdir, options.environment].map((environment) => readEnvironment(environment, clusterNames));
  for (const layer of layers) layOver(draft, layer);
  const walgArchive = layers.findLast((layer) => layer.walgArchive !== undefined)?.walgArchive;
  if (walgArchive !== undefined) giveArchive(sectionOf(draft, 'clusters'), walgArchive);
  const source = file ?? 'the environment';
  const parsed = check(draft, source);
  return { configuration: toConfiguration(parsed, file), secrets: readSecrets([options.environment, envdir]) };
}

async function readFirstFile({ file, environment, workingDirectory }: LoadOptions): Promise<{ file: string | undefined; draft: Draft }> {
  const named = file ?? (environment['WALKBACK_CONFIG'] || undefined);
  const candidates = named === undefined ? [join(workingDirectory, 'walkback.yaml'), systemFile] : [resolve(workingDirectory, named)];
  for (const candidate of candidates) {
    const text = await readIfPresent(candidate);
    if (text !== undefined) return { file: candidate, draft: parseYaml(candidate, text) };
  }
  if (named === undefined) return { file: undefined, draft: {} };
  throw new WalkbackError('INVALID_CONFIGURATION', `The configuration file ${candidates[0]} does not exist.`);
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new WalkbackError('INVALID_CONFIGURATION', `The configuration file ${path} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function parseYaml(file: string, text: string): Draft {
  let content: unknown;
  try {
    content = parse(text) ?? {};
  } catch (error) {
    const reason = error instanceof YAMLParseError ? error.message : messageOf(error);
    throw new WalkbackError('INVALID_CONFIGURATION', `${file} is not YAML: ${reason}`, { cause: error });
  }
  // A section whose every line is a comment is null in YAML.
  if (isDraft(content)) return Object.fromEntries(Object.entries(content).filter(([, section]) => section !== null));
  throw new WalkbackError('INVALID_CONFIGURATION', `${file} must hold sections such as \`storage:\` and \`clusters:\`.`);
}

async function readEnvdirOf(draft: Draft, environment: Environment): Promise<Environment> {
  const directory = environment['WALKBACK_STORAGE_ENVDIR'] || sectionOf(draft, 'storage')['envdir'];
  return typeof directory === 'string' ? readEnvdir(directory) : {};
}

function layOver(draft: Draft, { options }: EnvironmentOptions): void {
  for (const { path, value } of options) {
    const parent = path.slice(0, -1).reduce((section, name) => ((section[name] ??= {}), sectionOf(section, name)), draft);
    parent[path.at(-1) ?? ''] = value;
  }
}

/** WAL-G knows one archive, so its variable can only mean the archive of the only cluster; without any cluster it means nothing. */
function giveArchive(clusters: Draft, { variable, url }: NonNullable<EnvironmentOptions['walgArchive']>): void {
  const names = Object.keys(clusters);
  const homeless = names.filter((name) => sectionOf(clusters, name)['archive'] === undefined);
  if (homeless.length === 0) return;
  if (names.length > 1) {
    throw new WalkbackError('INVALID_CONFIGURATION', `${variable} names one archive, but ${names.length} clusters are configured.`, {
      hint: `Set ${homeless.map((name) => `clusters.${name}.archive`).join(' and ')} in walkback.yaml, or storage.prefix without ${variable}.`,
    });
  }
  for (const name of homeless) sectionOf(clusters, name)['archive'] = url;
}

function check(draft: Draft, source: string): ParsedConfiguration {
  const parsed = configurationSchema.safeParse(draft);
  if (parsed.success) return parsed.data;
  throw new WalkbackError('INVALID_CONFIGURATION', `${source}: ${parsed.error.issues.flatMap(complaintsOf).join('; ')}`);
}

function complaintsOf(issue: z.core.$ZodIssue): readonly string[] {
  const path = issue.path.map(String);
  if (issue.code === 'invalid_key') return issue.issues.map(({ message }) => `${path.join('.')}: the name ${message}`);
  if (issue.code !== 'unrecognized_keys') return [`${path.join('.') || 'the file'}: ${issue.message}`];
  return issue.keys.map((key) => {
    const nearest = nearestName(key, knownNamesAt(issue.path) ?? []);
    return `${[...path, key].join('.')}: unknown option${nearest === undefined ? '' : `, did you mean ${nearest}?`}`;
  });
}

function toConfiguration({ clusters, ...sections }: ParsedConfiguration, file: string | undefined): Configuration {
  const { host, storage, backup, temporal, logging } = camelCased(sections);
  return {
    file,
    host: {
      ...host,
      socket: host.socket ?? join(host.stateDirectory, 'agent.sock'),
      runDirectory: host.runDirectory ?? join(host.stateDirectory, 'run'),
    },
    storage,
    backup,
    clusters: Object.entries(clusters).map(([name, cluster]) => ({ ...camelCased(cluster), host: cluster.host ?? host.id, name })),
    temporal,
    logging,
  };
}

/** The cast is what CamelCased means. */
function camelCased<Value>(value: Value): CamelCased<Value> {
  if (!isDraft(value)) return value as CamelCased<Value>;
  const entries = Object.entries(value).map(([name, inner]) => [
    name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
    camelCased(inner),
  ]);
  return Object.fromEntries(entries) as CamelCased<Value>;
}

function isDraft(value: unknown): value is Draft {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A section of the draft; an empty one when it is missing or malformed, which the check reports. */
function sectionOf(draft: Draft, name: string): Draft {
  const section = draft[name];
  return isDraft(section) ? section : {};
}
