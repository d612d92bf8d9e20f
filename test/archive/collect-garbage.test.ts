import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { collectGarbage } from '../../src/archive/collect-garbage.ts';

it('collectGarbage takes back at once what nobody holds, and nothing else', async () => {
  const kept = Buffer.alloc(1024 * 1024, 1);
  const references = Array.from({ length: 8 }, () => new WeakRef(Buffer.alloc(1024 * 1024)));
  // What a weak reference was made of lives until the end of the turn.
  await nextTurn();
  collectGarbage();
  expect(references.filter((reference) => reference.deref() !== undefined)).toEqual([]);
  expect(kept.at(-1)).toBe(1);
});

it('collectGarbage gives the room of what is gone back to the system', () => {
  const garbage = Array.from({ length: 1_000_000 }, (_, index) => ({ index, name: String(index) }));
  expect(garbage.at(-1)).toEqual({ index: 999_999, name: '999999' });
  const beforeBytes = process.memoryUsage().heapTotal;
  garbage.length = 0;
  collectGarbage();
  const { heapTotal, heapUsed } = process.memoryUsage();
  expect(heapTotal).toBeLessThan(beforeBytes);
  expect(heapTotal - heapUsed).toBeLessThan(16 * 1024 * 1024);
});
