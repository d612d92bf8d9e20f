import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type FamilySearch, findLandingReport, readLineage } from '../../src/archive/family.ts';
import { childKey, landingReportKey } from '../../src/archive/layout.ts';
import { childOf, newestReports, putChild, putLandingReport } from '../../src/archive/landing-reports.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import type { FamilyMember } from '../../src/domain/lineage.ts';
import { openObjectStore } from '../../src/storage/open-object-store.ts';
import { temporaryDirectory } from './support/temporary.ts';

type TemporaryDirectory = Awaited<ReturnType<typeof temporaryDirectory>>;

/** What is looked at of a report; the rest plays no part here. */
function reportOf(place: TemporaryDirectory, facts: { name: string; parent: string; restoredAt?: string }): LandingReport {
  const { name, parent, restoredAt = '2026-11-22T12:00:00.000Z' } = facts;
  return {
    restoreId: `restore/db1/srv/${name}`,
    cluster: parent,
    name,
    host: 'db1',
    archive: urlOf(place, name),
    parentArchive: urlOf(place, parent),
    parentTimeline: 1,
    restoredAt,
    requestedTarget: { kind: 'latest' },
    endLsn: '0/3000028',
    lastCommitKept: null,
    timeline: 2,
  } as unknown as LandingReport;
}

function urlOf(place: TemporaryDirectory, name: string): string {
  return pathToFileURL(join(place.path, name)).href;
}

function searchIn(place: TemporaryDirectory, configured: readonly string[]): FamilySearch {
  return {
    openStore: (url) => openObjectStore(url, {}),
    configured: configured.map((name) => ({ name, archive: urlOf(place, name) })),
  };
}

async function restored(
  place: TemporaryDirectory,
  facts: Parameters<typeof reportOf>[1],
  options: { untold?: boolean } = {},
): Promise<void> {
  const report = reportOf(place, facts);
  await makeArchives(place, [facts.name, facts.parent]);
  await putLandingReport(openObjectStore(report.archive, {}), report);
  if (options.untold !== true) await putChild(openObjectStore(report.parentArchive, {}), childOf(report));
}

/** The directory of a file archive is made by its owner. */
async function makeArchives(place: TemporaryDirectory, clusters: readonly string[]): Promise<void> {
  for (const name of clusters) await mkdir(join(place.path, name), { recursive: true });
}

function names({ name, children }: FamilyMember): object {
  return { [name]: children.map(names) };
}

describe('readLineage', () => {
  it('readLineage finds ancestors and descendants, from whichever of them it starts', async () => {
    await using place = await temporaryDirectory();
    await restored(place, { name: 'a', parent: 'shop' });
    await restored(place, { name: 'b', parent: 'a' });
    await restored(place, { name: 'c', parent: 'shop', restoredAt: '2026-11-21T12:00:00.000Z' });
    const search = searchIn(place, ['shop']);
    for (const cluster of ['shop', 'a', 'b', 'c']) {
      const lineage = await readLineage(search, cluster);
      expect([lineage.cluster, names(lineage.root)]).toEqual([cluster, { shop: [{ c: [] }, { a: [{ b: [] }] }] }]);
    }
    const { root } = await readLineage(search, 'shop');
    expect(root.children[1]?.fork).toMatchObject({ parent: 'shop', parentTimeline: 1, timeline: 2, lsn: '0/3000028' });
  });

  it('readLineage shows a child whose parent could not be told about it, when the child is asked for', async () => {
    await using place = await temporaryDirectory();
    await restored(place, { name: 'a', parent: 'shop' }, { untold: true });
    expect(names((await readLineage(searchIn(place, ['shop', 'a']), 'a')).root)).toEqual({ shop: [{ a: [] }] });
  });

  it('readLineage leaves out what is too much, but not the way to the cluster', async () => {
    await using place = await temporaryDirectory();
    for (const name of ['a', 'b', 'd']) await restored(place, { name, parent: 'shop' });
    await restored(place, { name: 'c', parent: 'b' });
    const { root, leftOut } = await readLineage(searchIn(place, ['shop']), 'c', 1);
    expect(names(root)).toEqual({ shop: [{ b: [{ c: [] }] }] });
    expect(leftOut).toBe(2);
  });

  it('readLineage says NOT_FOUND for a name that nobody knows', async () => {
    await using place = await temporaryDirectory();
    await makeArchives(place, ['shop']);
    await expect(readLineage(searchIn(place, ['shop']), 'other')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('findLandingReport', () => {
  it('findLandingReport finds it by the id of the restore and by the name of the cluster', async () => {
    await using place = await temporaryDirectory();
    await restored(place, { name: 'a', parent: 'shop' });
    await restored(place, { name: 'b', parent: 'a' });
    const search = searchIn(place, ['shop']);
    for (const of of ['b', 'restore/db1/srv/b']) expect(await findLandingReport(search, of)).toMatchObject({ name: 'b', cluster: 'a' });
    for (const of of ['shop', 'restore/db1/srv/c'])
      await expect(findLandingReport(search, of)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('findLandingReport names a report that is no report', async () => {
    await using place = await temporaryDirectory();
    await makeArchives(place, ['shop']);
    const store = openObjectStore(urlOf(place, 'shop'), {});
    await store.put(landingReportKey('restore/db1/srv/a'), Buffer.from('{}'));
    await expect(findLandingReport(searchIn(place, ['shop']), 'restore/db1/srv/a')).rejects.toMatchObject({ code: 'OBJECT_DAMAGED' });
  });
});

describe('newestReports', () => {
  it('newestReports gives those of the newest children, whatever cannot be read', async () => {
    await using place = await temporaryDirectory();
    for (const [name, day] of [
      ['one', 1],
      ['two', 2],
      ['three', 3],
      ['four', 4],
    ] as const)
      await restored(place, { name, parent: 'shop', restoredAt: `2026-11-0${day}T12:00:00.000Z` });
    const [shop, { openStore }] = [openObjectStore(urlOf(place, 'shop'), {}), searchIn(place, ['shop'])];
    const namesOf = async (limit: number) => (await newestReports(shop, openStore, { limit })).map(({ name }) => name);
    expect(await namesOf(3)).toEqual(['four', 'three', 'two']);
    await openObjectStore(urlOf(place, 'three'), {}).put(landingReportKey('restore/db1/srv/three'), Buffer.from('{'));
    await openObjectStore(urlOf(place, 'two'), {}).delete([landingReportKey('restore/db1/srv/two')]);
    expect(await namesOf(4)).toEqual(['four', 'one']);
    await shop.put(childKey('four'), Buffer.from('{'));
    expect(await namesOf(4)).toEqual([]);
  });
});
