import { describe, expect, it } from 'vitest';
import { majorOf } from '../../src/domain/base-backup.ts';

describe('majorOf', () => {
  it('majorOf takes the major version out of server_version_num', () => {
    expect([140_000, 150_018, 160_014, 180_001].map(majorOf)).toEqual([14, 15, 16, 18]);
  });
});
