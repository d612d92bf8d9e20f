/** Finds clusters and landing reports over archives: from the configured ones to what was restored from them, and back to their parents. */
import { WalkbackError } from '../domain/errors.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import type { FamilyMember, Lineage } from '../domain/lineage.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { childOf, readChildren, readLandingReport, readOwnLandingReport } from './landing-reports.ts';

/** A cluster and its archive. */
export interface ArchiveOfCluster {
  readonly name: string;
  readonly archive: string;
}

/** Where to look. */
export interface FamilySearch {
  readonly openStore: (url: string) => ObjectStore;
  /** Clusters that the configuration knows. */
  readonly configured: readonly ArchiveOfCluster[];
  readonly signal?: AbortSignal;
}

/** Archives looked into by one search. */
const archivesMaximum = 1000;
/** Ancestors of a cluster that are looked for. */
const ancestorsMaximum = 100;

/**
 * The landing report of a restore, by its id or by the name of the restored cluster.
 * @throws WalkbackError NOT_FOUND, OBJECT_DAMAGED
 */
export async function findLandingReport(search: FamilySearch, idOrName: string): Promise<LandingReport> {
  const report = idOrName.includes('/') ? await findById(search, idOrName) : await findByName(search, idOrName);
  if (report !== undefined) return report;
  throw new WalkbackError('NOT_FOUND', `No archive holds a landing report of "${idOrName}".`, {
    hint: 'A report is stored once a restored cluster is open. `walkback status ID` tells of a restore that is not; `walkback lineage CLUSTER` what was restored.',
    facts: { looked: search.configured.map(({ name }) => name) },
  });
}

async function findById(search: FamilySearch, id: string): Promise<LandingReport | undefined> {
  for await (const { archive } of knownArchives(search)) {
    const report = await readLandingReport(search.openStore(archive), id, search);
    if (report !== undefined) return report;
  }
  return undefined;
}

async function findByName(search: FamilySearch, name: string): Promise<LandingReport | undefined> {
  const cluster = await findCluster(search, name);
  return cluster === undefined ? undefined : await readOwnLandingReport(search.openStore(cluster.archive), name, search);
}

/**
 * The family of a cluster.
 * @param limit members that are told, at least those between the oldest ancestor and the cluster
 * @throws WalkbackError NOT_FOUND, OBJECT_DAMAGED
 */
export async function readLineage(search: FamilySearch, cluster: string, limit = archivesMaximum): Promise<Lineage> {
  const found = await findCluster(search, cluster);
  if (found === undefined) {
    throw new WalkbackError('NOT_FOUND', `Neither the configuration nor an archive knows a cluster "${cluster}".`, {
      facts: { configured: search.configured.map(({ name }) => name) },
    });
  }
  const way = await wayFromRoot(search, found);
  const [root = { ...found, fork: null }] = way;
  const tree = new TreeReader(search, { way, limit });
  return { cluster, root: await tree.read(root), leftOut: tree.leftOut };
}

type Bare = Omit<FamilyMember, 'children'>;

/** From the oldest ancestor that is known down to the cluster: a parent whose archive may only be read does not list its children. */
async function wayFromRoot(search: FamilySearch, cluster: ArchiveOfCluster): Promise<Bare[]> {
  const way: Bare[] = [];
  const seen = new Set<string>();
  let next: ArchiveOfCluster | undefined = cluster;
  while (next !== undefined && !seen.has(next.archive) && seen.size < ancestorsMaximum) {
    const { name, archive }: ArchiveOfCluster = next;
    seen.add(archive);
    const report = await readOwnLandingReport(search.openStore(archive), name, search);
    const fork = report === undefined ? null : forkOf(report);
    way.unshift({ name, archive, fork });
    next = report?.parentArchive === undefined ? undefined : { name: report.cluster, archive: report.parentArchive };
  }
  return way;
}

function forkOf(report: LandingReport): Bare['fork'] {
  const { name: _name, archive: _archive, ...fork } = childOf(report);
  return fork;
}

/** Reads downwards, each archive once. */
class TreeReader {
  readonly #search: FamilySearch;
  readonly #way: readonly Bare[];
  readonly #seen = new Set<string>();
  #left: number;
  leftOut = 0;

  constructor(search: FamilySearch, options: { readonly way: readonly Bare[]; readonly limit: number }) {
    this.#search = search;
    this.#way = options.way;
    this.#left = Math.max(options.limit, options.way.length) - options.way.length;
  }

  async read(member: Bare): Promise<FamilyMember> {
    this.#seen.add(member.archive);
    const children: FamilyMember[] = [];
    for (const child of await this.#childrenOf(member)) {
      if (this.#seen.has(child.archive)) continue;
      const isOnWay = this.#way.some(({ archive }) => archive === child.archive);
      if (!isOnWay && this.#left === 0) {
        this.leftOut += 1;
        continue;
      }
      if (!isOnWay) this.#left -= 1;
      children.push(await this.read(child));
    }
    return { ...member, children };
  }

  async #childrenOf(member: Bare): Promise<Bare[]> {
    const listed = await readChildren(this.#search.openStore(member.archive), this.#search);
    const children = listed.map(({ name, archive, ...fork }): Bare => ({ name, archive, fork }));
    const index = this.#way.findIndex(({ archive }) => archive === member.archive);
    const onWay = index === -1 ? undefined : this.#way[index + 1];
    const isListed = onWay === undefined || children.some(({ archive }) => archive === onWay.archive);
    return isListed ? children : [...children, onWay];
  }
}

async function findCluster(search: FamilySearch, name: string): Promise<ArchiveOfCluster | undefined> {
  for await (const cluster of knownArchives(search)) if (cluster.name === name) return cluster;
  return undefined;
}

/** The configured clusters first, then what was restored from them, generation by generation. */
async function* knownArchives(search: FamilySearch): AsyncGenerator<ArchiveOfCluster> {
  const seen = new Set<string>();
  let generation: readonly ArchiveOfCluster[] = search.configured;
  while (generation.length > 0 && seen.size < archivesMaximum) {
    const fresh = generation.filter(({ archive }) => !seen.has(archive));
    for (const cluster of fresh) {
      seen.add(cluster.archive);
      yield cluster;
    }
    const next: ArchiveOfCluster[] = [];
    for (const { archive } of fresh) next.push(...(await readChildren(search.openStore(archive), search)));
    generation = next;
  }
}
