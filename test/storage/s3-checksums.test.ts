import { describe, expect, it } from 'vitest';
import { crc32Base64, md5Base64, travelsSafely } from '../../src/storage/s3-checksums.ts';

describe('travelsSafely', () => {
  it.each([undefined, 'https://s3.example.org', 'http://127.0.0.1:9000', 'http://localhost:9000', 'http://[::1]:9000'])(
    'is true of %s',
    (endpoint) => {
      expect(travelsSafely(endpoint)).toBe(true);
    },
  );

  it.each(['http://s3.example.org', 'http://10.0.0.1:9000', 'http://127.0.0.1.example.org'])('is false of %s', (endpoint) => {
    expect(travelsSafely(endpoint)).toBe(false);
  });
});

describe('checksums', () => {
  it('are those of the check values of their specifications', () => {
    expect(crc32Base64(Buffer.from('123456789'))).toBe(Buffer.from('cbf43926', 'hex').toString('base64'));
    expect(md5Base64('')).toBe('1B2M2Y8AsgTpgAmY7PhCfg==');
  });
});
