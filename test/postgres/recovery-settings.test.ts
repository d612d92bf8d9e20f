import { expect, it } from 'vitest';
import { recoveryBuffersMib } from '../../src/postgres/recovery-settings.ts';

const gibibyte = 1024 ** 3;

it.each([
  [0, 128],
  [0.4, 128],
  [1, 256],
  [3, 768],
  [4, 1024],
  [256, 1024],
])('recoveryBuffersMib takes of %s GiB that are free %s MiB', (free, expected) => {
  expect(recoveryBuffersMib(free * gibibyte)).toBe(expected);
});
