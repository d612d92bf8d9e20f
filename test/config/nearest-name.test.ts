import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nearestName } from '../../src/config/nearest-name.ts';

describe('nearestName', () => {
  it.each([
    ['prot', 'port'],
    ['Port', 'port'],
    ['data_dir', undefined],
    ['data_directry', 'data_directory'],
    ['zzzz', undefined],
  ])('of %j is %j', (name, expected) => {
    expect(nearestName(name, ['port', 'user', 'data_directory', 'socket_directory'])).toBe(expected);
  });

  it('finds any name again when one letter is missing', () => {
    const names = fc.stringMatching(/^[a-z_]{3,20}$/);
    fc.assert(
      fc.property(names, fc.nat(), (name, index) => {
        const position = index % name.length;
        expect(nearestName(name.slice(0, position) + name.slice(position + 1), [name])).toBe(name);
      }),
    );
  });
});
