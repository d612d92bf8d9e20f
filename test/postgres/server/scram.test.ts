import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { computeScramVerifier, passwordMatchesVerifier } from '../../../src/postgres/scram.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';

const installations = await availableInstallations();
const passwords = ['secret', ' spaces and \'quotes" ', 'pässwörd', 'ﬁne ½ Ⅳ', 'a\u00a0b', 'soft\u00adhyphen', '密码', '🙂'];

describe('computeScramVerifier', () => {
  it('computeScramVerifier gives the keys of RFC 7677 when salt and password are its own', () => {
    const verifier = computeScramVerifier('pencil', { salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64') });
    expect(verifier).toBe(
      'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
    );
  });

  it('computeScramVerifier salts anew when no salt is given', () => {
    expect(computeScramVerifier('x')).not.toBe(computeScramVerifier('x'));
  });
});

describe('passwordMatchesVerifier', () => {
  it('passwordMatchesVerifier is false when there is no password, or one it cannot check', () => {
    for (const verifier of [null, '', 'plain', 'SCRAM-SHA-256$0:AA==$AA==:AA==', 'SCRAM-SHA-256$99999999999:AA==$AA==:AA==']) {
      expect(passwordMatchesVerifier('x', verifier, 'r')).toBe(false);
    }
  });
});

describe.each(installations)('verifiers of PostgreSQL $version', (installation) => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await createTestCluster({ installation, name: 'scram' });
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  it.each(['scram-sha-256', 'md5'])('passwordMatchesVerifier agrees with the server when it stores %s', async (method) => {
    for (const password of passwords) {
      await cluster.query(
        `DO $$ BEGIN SET LOCAL password_encryption = '${method}'; DROP ROLE IF EXISTS r; EXECUTE format('CREATE ROLE r LOGIN PASSWORD %L', '${password.replaceAll("'", "''")}'); END $$`,
      );
      const [row] = await cluster.query<{ rolpassword: string }>(`SELECT rolpassword FROM pg_authid WHERE rolname = 'r'`);
      expect(passwordMatchesVerifier(password, row!.rolpassword, 'r')).toBe(true);
      expect(passwordMatchesVerifier(`${password}x`, row!.rolpassword, 'r')).toBe(false);
    }
  });
});
