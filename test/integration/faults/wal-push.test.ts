/** The store does not take WAL, or its answers are lost: PostgreSQL is told "archived" only when it is, and nothing is lost. */
import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { walKey, walPrefix } from '../../../src/archive/layout.ts';
import { demoCluster } from '../../../src/demo/demo-site.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { Scene } from './scene.ts';
import { listKeys, openArchive } from './stored-objects.ts';

/** PostgreSQL asks again within seconds, but a minute after three failures (pgarch.c, PGARCH_AUTOWAKE_INTERVAL). */
const outageAttemptCount = 3;
let scene: Scene;

beforeAll(async () => {
  scene = await Scene.open();
});
afterEach(() => scene.store.end());
afterAll(async () => scene[Symbol.asyncDispose]());

const pgWal = () => join(scene.site.source.dataDirectory, 'pg_wal');

/** Does PostgreSQL believe that the file is archived, does it wait for that, or neither? */
async function archiveStatus(name: string): Promise<'done' | 'ready' | undefined> {
  const names = await readdir(join(pgWal(), 'archive_status'));
  if (names.includes(`${name}.done`)) return 'done';
  return names.includes(`${name}.ready`) ? 'ready' : undefined;
}

async function archivedKeys(): Promise<ReadonlyMap<string, string | undefined>> {
  await using archive = openArchive(scene.site, demoCluster);
  return await listKeys(archive, walPrefix);
}

describe('WAL that the store does not take', () => {
  it('is kept by PostgreSQL, and all of it arrives when the store is healthy again', async () => {
    scene.store.fail('PutObject', `/${walPrefix}`, { kind: 'error', code: 'SlowDown' });
    const segments = await scene.writeSegments(4);
    const [first] = segments;
    await waitUntil(() => scene.store.countByKey('PutObject', first!).values().next().value! >= outageAttemptCount, {
      timeoutMs: 30_000,
      description: 'the agent has tried more than once',
    });
    for (const name of segments) {
      expect(await archiveStatus(name)).toBe('ready');
      await access(join(pgWal(), name));
    }
    expect([...(await archivedKeys()).keys()].filter((key) => segments.some((name) => key.includes(name)))).toEqual([]);
    scene.store.end();
    await scene.untilArchived(segments.at(-1)!);
    expect([...(await archivedKeys()).keys()]).toEqual(expect.arrayContaining(segments.map((name) => walKey(name, 'zst'))));
  });

  it('A12: is stored once when the answer is lost, which is a success at the next attempt', async () => {
    const { store } = scene;
    const lost: string[] = [];
    store.make(({ operation, key }) => {
      if (operation !== 'PutObject' || !key.includes(`/${walPrefix}`) || lost.includes(key)) return undefined;
      lost.push(key);
      return { kind: 'lose-answer' };
    });
    const [name] = await scene.writeSegments(1);
    await scene.untilArchived(name!);
    expect(lost.some((key) => key.endsWith(walKey(name!, 'zst')))).toBe(true);
    expect([...store.countByKey('PutObject', name!).values()][0]).toBeGreaterThan(1);
  });

  it('is not acknowledged by an agent that dies between storing and answering, and is by the next one', async () => {
    const gate = scene.store.hold('PutObject', `/${walPrefix}`, 'hold-answer');
    const [name] = await scene.writeSegments(1);
    const key = walKey(name!, 'zst');
    const stored = await waitUntil(async () => (await archivedKeys()).get(key), { timeoutMs: 30_000, description: `${name} is stored` });
    expect(await archiveStatus(name!)).toBe('ready');
    await scene.kill('agent');
    expect(await archiveStatus(name!)).toBe('ready');
    gate.open();
    scene.store.end();
    await scene.start('agent');
    await scene.untilArchived(name!);
    expect((await archivedKeys()).get(key)).toBe(stored);
    expect([...scene.store.countByKey('PutObject', name!).values()][0]).toBeGreaterThan(1);
  });

  it('has lost nothing: a restore of all of it holds every row', async () => {
    const rows = await scene.rowsOfSource();
    const { handle } = await scene.restore({ name: 'everything', target: { kind: 'latest' } });
    expect(await scene.rowsOf(await handle.result())).toBe(rows);
  });
});
