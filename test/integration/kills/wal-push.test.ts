/** kill -9 of the agent at any instant, while PostgreSQL archives: every segment arrives once, with its content. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { conflictsPrefix, walKey, walPrefix } from '../../../src/archive/layout.ts';
import { defaultWalSegmentBytes } from '../../../src/domain/wal-segment.ts';
import { keysOf } from '../../archive/support/temporary.ts';
import { killCount, killsTimeoutMs } from './kill-count.ts';
import { KilledAgent, seed } from './killed-agent.ts';
import { KillScene } from './scene.ts';

const segmentsPerKill = 2;

describe('an agent that is killed while PostgreSQL archives', () => {
  it(`loses no segment and stores none twice (${killCount} kills, seed ${seed})`, { timeout: killsTimeoutMs }, async () => {
    await using scene = await KillScene.open('kills-push');
    await using agent = new KilledAgent(scene.plan);
    for (let kill = 0; kill < killCount; kill += 1) {
      await Promise.all([scene.writeSegments(segmentsPerKill), agent.startAndKill()]);
    }
    await agent.start();
    await scene.writeSegments(1);
    await scene.untilArchived();
    const { archive, store, segments, source, directory, systemIdentifier } = scene;
    const keys = await keysOf(store, walPrefix);
    expect(keys.filter((key) => !segments.some((name) => key === walKey(name, 'zst')))).toEqual([]);
    expect(keys).toHaveLength(segments.length);
    expect(await keysOf(store, conflictsPrefix)).toEqual([]);
    const destination = join(directory, 'fetched');
    for (const name of segments) {
      expect(await archive.fetch({ name, destination, systemIdentifier })).toBe('fetched');
      const [fetched, own] = [await readFile(destination), await readFile(join(source.dataDirectory, 'pg_wal', name))];
      expect(fetched).toHaveLength(defaultWalSegmentBytes);
      expect(fetched.equals(own), `${name} has its own content`).toBe(true);
    }
  });
});
