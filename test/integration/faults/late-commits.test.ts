/**
 * The race of the fallback: recovery ends before its target because the source was idle; before the same directory is started without the
 * target, the source commits and archives. Those commits came after the target and must not slip in (postgres-recovery.md, M10 and A3).
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { walKey, walPrefix } from '../../../src/archive/layout.ts';
import { demoCluster } from '../../../src/demo/demo-site.ts';
import { parseInstant } from '../../../src/domain/instant.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { Scene, stepOf } from './scene.ts';
import { listKeys, openArchive } from './stored-objects.ts';

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.open();
});
afterEach(() => scene.store.end());
afterAll(async () => scene[Symbol.asyncDispose]());

/** A row and its segment, archived, while a restore runs. */
async function commitAndArchive(): Promise<string> {
  const [name] = await scene.writeSegments(1);
  await scene.untilArchived(name!);
  return name!;
}

/** One gate for each time that the object is read. */
function holdEachRead(keyPart: string): { readonly arrivedCount: () => number; /** From 1. */ readonly open: (read: number) => void } {
  const gates: PromiseWithResolvers<void>[] = [];
  scene.store.make(({ operation, key }) => {
    if (operation !== 'GetObject' || !key.includes(keyPart)) return undefined;
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    return { kind: 'hold-request', until: gate.promise };
  });
  return { arrivedCount: () => gates.length, open: (read) => gates[read - 1]?.resolve() };
}

/** One gate for each WAL file of the source. */
function holdEachPush(): { readonly open: (name: string) => void; readonly openAll: () => void } {
  const gates = new Map<string, PromiseWithResolvers<void>>();
  let isOpen = false;
  const gateOf = (name: string) => {
    const gate = gates.get(name) ?? Promise.withResolvers<void>();
    gates.set(name, gate);
    return gate;
  };
  scene.store.make(({ operation, key }) => {
    const [, name] = key.split(`/${demoCluster}/${walPrefix}`);
    if (isOpen || operation !== 'PutObject' || name === undefined) return undefined;
    return { kind: 'hold-request', until: gateOf(name).promise };
  });
  return {
    open: (name) => gateOf(walKey(name, 'zst').slice(walPrefix.length)).resolve(),
    openAll: () => {
      isOpen = true;
      for (const gate of gates.values()) gate.resolve();
    },
  };
}

/** Two for the new archive, one for the backups, one for the WAL, and one that asks for the missing segment by its name. */
const listingsOfPlanCount = 5;

function countOfListings(): number {
  return scene.store.seen.filter(({ operation }) => operation === 'ListObjectsV2').length;
}

describe('a restore to an instant after the last commit of an idle source', () => {
  it('A2, A3: is promoted with the proof, and holds no row that was committed, and archived, while it ran', async () => {
    const segments = await scene.writeSegments(2);
    const rows = await scene.rowsOfSource();
    const now = await scene.valueOfSource('SELECT clock_timestamp()::text');
    const reads = holdEachRead(segments[1]!);
    const { handle } = await scene.restore({ name: 'idle', target: { kind: 'time', time: parseInstant(now) } });
    let hasEnded = false;
    const result = handle.result().finally(() => (hasEnded = true));
    // A failure is thrown where it is awaited, below.
    result.catch(() => undefined);

    // PostgreSQL reads it in its first start, again when it finds the end of the WAL, and in its second start.
    const committed: string[] = [];
    const next = async () => {
      const read = committed.length + 1;
      await waitUntil(() => hasEnded || reads.arrivedCount() >= read, {
        timeoutMs: 30_000,
        description: `${segments[1]} is read (${read})`,
      });
      return !hasEnded;
    };
    while (await next()) {
      committed.push(await commitAndArchive());
      reads.open(committed.length);
    }

    const report = await result;
    expect(committed.length).toBeGreaterThan(1);
    expect(report).toMatchObject({ endReason: 'ended-early-proven-complete', timeline: 2 });
    expect(stepOf(report, 'drop-target')).toBeDefined();
    expect(await scene.rowsOf(report)).toBe(rows);
    expect(await scene.rowsOfSource()).not.toBe(rows);
    await using archive = openArchive(scene.site, demoCluster);
    const keys = await listKeys(archive, '');
    expect([...keys.keys()]).toEqual(expect.arrayContaining(committed.map((name) => walKey(name, 'zst'))));
  });

  it('waits for a segment that is still on its way while a later one is in the archive', async () => {
    const pushes = holdEachPush();
    const [first, second, third] = await scene.writeSegments(3);
    const rows = await scene.rowsOfSource();
    const now = await scene.valueOfSource('SELECT clock_timestamp()::text');
    // While the first was held the others got ready, so the third is archived ahead of the second.
    for (const name of [first!, third!]) pushes.open(name);
    await using archive = openArchive(scene.site, demoCluster);
    const stored = async (name: string) => (await listKeys(archive, '')).has(walKey(name, 'zst'));
    await waitUntil(() => stored(third!), { timeoutMs: 30_000, description: `${third} is archived` });
    expect([await stored(first!), await stored(second!)]).toEqual([true, false]);

    const listingsBefore = countOfListings();
    const { handle } = await scene.restore({ name: 'in-flight', target: { kind: 'time', time: parseInstant(now) } });
    await waitUntil(() => countOfListings() > listingsBefore + listingsOfPlanCount, {
      timeoutMs: 30_000,
      description: 'the plan has met the hole and looks again',
    });
    pushes.openAll();
    const report = await handle.result();
    expect(report).toMatchObject({ endReason: 'ended-early-proven-complete' });
    expect(await scene.rowsOf(report)).toBe(rows);
  });

  it('A2: fails when the request says so, although the end of the WAL is proven to be the state asked for', async () => {
    const now = await scene.valueOfSource('SELECT clock_timestamp()::text');
    const { handle, request } = await scene.restore({
      name: 'idle-refused',
      target: { kind: 'time', time: parseInstant(now) },
      onEarlyEnd: 'fail',
    });
    await expect(handle.result()).rejects.toMatchObject({
      code: 'TARGET_NOT_PROVEN',
      message: expect.stringContaining(request.dataDirectory),
    });
  });
});
