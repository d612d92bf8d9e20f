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
