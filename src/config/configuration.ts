/** The configuration as the program uses it: checked, complete, without secrets. */
import { WalkbackError } from '../domain/errors.ts';
import { nearestName } from './nearest-name.ts';
import { nameSchema, type ParsedConfiguration } from './schema.ts';

type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelCase<Tail>>}` : Name;

/** The same values under the names that TypeScript uses. */
export type CamelCased<Value> = Value extends readonly (infer Item)[]
  ? readonly CamelCased<Item>[]
  : Value extends object
    ? { readonly [Name in keyof Value as Name extends string ? CamelCase<Name> : Name]: CamelCased<Value[Name]> }
    : Value;

type Parsed = CamelCased<ParsedConfiguration>;

/** One cluster. `archive` is undefined when nothing says where its archive is: archiveUrlOf then tells what to do. */
export interface ClusterConfiguration extends Readonly<Parsed['clusters'][string]> {
  readonly name: string;
}

/** What walkback.yaml and the environment say. Safe to log. */
export interface Configuration {
  /** Where it was read from; undefined when there is no file. */
  readonly file: string | undefined;
  readonly host: Parsed['host'] & { readonly socket: string; readonly runDirectory: string };
  readonly storage: Parsed['storage'];
  readonly backup: Parsed['backup'];
  readonly clusters: readonly ClusterConfiguration[];
  readonly temporal: Parsed['temporal'];
  readonly logging: Parsed['logging'];
}

/** The configured cluster of that name. @throws WalkbackError UNKNOWN_CLUSTER, naming the nearest known one */
export function clusterOf(configuration: Configuration, name: string): ClusterConfiguration {
  const cluster = configuration.clusters.find((known) => known.name === name);
  if (cluster !== undefined) return cluster;
  const names = configuration.clusters.map((known) => known.name);
  const nearest = nearestName(name, names);
  throw new WalkbackError(
    'UNKNOWN_CLUSTER',
    `No cluster "${name}" is configured${nearest === undefined ? '' : `, did you mean ${nearest}?`}`,
    {
      hint: `Known: ${names.join(', ') || 'none'}. Clusters are listed under \`clusters:\` in ${configuration.file ?? 'walkback.yaml, which was not found'}.`,
    },
  );
}

/** Where the archive of a configured cluster is: its own, else below storage.prefix. @throws WalkbackError INVALID_CONFIGURATION, UNKNOWN_CLUSTER */
export function archiveUrlOf(configuration: Configuration, clusterName: string): string {
  const { archive } = clusterOf(configuration, clusterName);
  if (archive !== undefined) return archive;
  if (configuration.storage.prefix !== undefined) return `${configuration.storage.prefix}/${clusterName}`;
  throw new WalkbackError('INVALID_CONFIGURATION', `Nothing says where the archive of cluster "${clusterName}" is.`, {
    hint: `Set clusters.${clusterName}.archive or storage.prefix in walkback.yaml.`,
  });
}

/** Every configured cluster whose archive is known. */
export function archivesOf(configuration: Configuration): readonly { readonly name: string; readonly archive: string }[] {
  return configuration.clusters.flatMap((cluster) => {
    const archive = archiveOf(configuration, cluster);
    return archive === undefined ? [] : [{ name: cluster.name, archive }];
  });
}

/**
 * Where the archive of a cluster will be that is not configured yet, the child of a restore: below storage.prefix, else beside its parent's.
 * @throws WalkbackError ARCHIVE_PREFIX_IN_USE when that is the archive of a configured cluster, INVALID_CONFIGURATION at the root of a bucket
 */
export function archiveUrlForNewCluster(configuration: Configuration, parentName: string, name: string): string {
  if (!nameSchema.safeParse(name).success) {
    throw new WalkbackError('INVALID_REQUEST', `"${name}" cannot be the name of a cluster.`, {
      hint: 'Use 1 to 63 letters, digits, _ or -.',
    });
  }
  const { prefix } = configuration.storage;
  const url = prefix === undefined ? siblingOf(archiveUrlOf(configuration, parentName), name) : `${prefix}/${name}`;
  const owner = configuration.clusters.find((cluster) => cluster.name !== name && archiveOf(configuration, cluster) === url);
  if (name !== parentName && owner === undefined) return url;
  throw new WalkbackError('ARCHIVE_PREFIX_IN_USE', `${url} is the archive of cluster "${owner?.name ?? parentName}".`);
}

function archiveOf({ storage }: Configuration, { archive, name }: ClusterConfiguration): string | undefined {
  return archive ?? (storage.prefix === undefined ? undefined : `${storage.prefix}/${name}`);
}

function siblingOf(url: string, name: string): string {
  const parent = /^(s3:\/\/[^/]+(?:\/.+)?|file:\/\/(?:\/.+)?)\/[^/]+$/.exec(url)?.[1];
  if (parent !== undefined && parent !== 'file://') return `${parent}/${name}`;
  throw new WalkbackError(
    'INVALID_CONFIGURATION',
    `${url} is the root of its store, so there is no place beside it for the archive of "${name}".`,
    {
      hint: 'Set storage.prefix in walkback.yaml: new clusters get an archive below it.',
    },
  );
}
