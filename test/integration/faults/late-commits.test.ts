/**
 * The race of the fallback: recovery ends before its target because the source was idle; before the same directory is started without the
 * target, the source commits and archives. Those commits came after the target and must not slip in (postgres-recovery.md, M10 and A3).
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { walKey } from '../../../src/archive/layout.ts';
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

describe('a restore to an instant after the last commit of an idle source', () => {
  it('holds no row that was committed, and archived, while it ran', async () => {
    const segments = await scene.writeSegments(2);
    const rows = await scene.rowsOfSource();
    const now = await scene.valueOfSource('SELECT clock_timestamp()::text');
    const reads = holdEachRead(segments[1]!);
    const { handle } = await scene.restore({ name: 'idle', target: { kind: 'time', time: parseInstant(now) } });
    let hasEnded = false;
    const result = handle.result().finally(() => (hasEnded = true));

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

  it('fails when the request says so, although the end of the WAL is proven to be the state asked for', async () => {
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
