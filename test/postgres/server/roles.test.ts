import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectServer } from '../../../src/postgres/connection.ts';
import { proveCredentials } from '../../../src/postgres/credentials-proof.ts';
import { createTemporaryRole, replaceRoles, swapRoles, type SwapRolesOptions } from '../../../src/postgres/roles.ts';
import { computeScramVerifier } from '../../../src/postgres/scram.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';

const installations = await availableInstallations();
const clear = { old: 'old-Secret-1', other: 'other-Secret-2', new: 'new-Secret-3', admin: 'admin-Secret-4' };

describe.each(installations)('swapRoles on PostgreSQL $version', { timeout: 60_000 }, (installation) => {
  let cluster: TestCluster;
  let options: SwapRolesOptions;

  beforeEach(async () => {
    cluster = await createTestCluster({ installation, name: 'roles', settings: { log_statement: 'all', log_min_duration_statement: 0 } });
    await cluster.query(`CREATE ROLE app LOGIN PASSWORD '${computeScramVerifier(clear.old)}'`);
    await cluster.query(`CREATE ROLE "Legacy ""x""" LOGIN PASSWORD '${computeScramVerifier(clear.other)}' VALID UNTIL '2001-01-01'`);
    await cluster.query(`DO $$ BEGIN SET LOCAL password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD '${clear.old}'; END $$`);
    await cluster.query('CREATE ROLE second_admin SUPERUSER LOGIN');
    await cluster.query('CREATE TABLE owned (a int); ALTER TABLE owned OWNER TO app');
    const hba = 'local all admin trust\nlocal all walkback_tmp_1 trust\nlocal all all scram-sha-256\n';
    writeFileSync(join(cluster.dataDirectory, 'pg_hba.conf'), hba);
    await cluster.query('SELECT pg_reload_conf()');
    const { user: _, ...server } = cluster.connectOptions;
    options = {
      server,
      adminRole: 'admin',
      temporaryRole: 'walkback_tmp_1',
      roles: [{ role: 'app', newName: 'app_restored', password: clear.new, oldPassword: clear.old }],
      otherLoginRoles: 'lock',
    };
  }, 60_000);
  afterEach(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  const roleNames = async () => {
    const rows = await cluster.query<{ name: string }>(`SELECT rolname AS name FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' ORDER BY 1`);
    return rows.map((row) => row.name);
  };

  it('swapRoles gives the role a new name and password and locks the others when it is asked to', async () => {
    const swapped = await swapRoles(options);
    expect(swapped).toEqual({ renamed: [{ role: 'app', newName: 'app_restored' }], locked: ['Legacy "x"', 'hashed', 'second_admin'] });
    expect(await roleNames()).toEqual(['Legacy "x"', 'admin', 'app_restored', 'hashed', 'second_admin']);
    const proofs = await proveCredentials({ server: options.server, reader: { user: 'admin' }, roles: options.roles });
    expect(proofs).toEqual([{ role: 'app', newName: 'app_restored', oldPasswordRefused: true, proof: 'login-attempt' }]);
    await using connection = await connectServer({ ...options.server, user: 'app_restored', password: clear.new });
    expect(await connection.query('SELECT * FROM owned')).toEqual([]);
    await expect(connectServer({ ...options.server, user: 'Legacy "x"', password: clear.other })).rejects.toMatchObject({
      code: 'POSTGRES_ACCESS_DENIED',
    });
  });

  it('swapRoles replaces an MD5 password when the source still had one (M18)', async () => {
    const roles = [{ role: 'hashed', newName: 'modern', password: clear.new }];
    await swapRoles({ ...options, roles, otherLoginRoles: 'keep' });
    const proofs = await proveCredentials({ server: options.server, reader: { user: 'admin' }, roles });
    expect(proofs).toMatchObject([{ proof: 'verifier-comparison' }]);
    await using app = await connectServer({ ...options.server, user: 'app', password: clear.old });
    expect(await app.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('swapRoles renames the admin itself when it is one of the roles', async () => {
    const roles = [...options.roles, { role: 'admin', newName: 'admin_restored', password: clear.admin }];
    for (let run = 1; run <= 2; run += 1) {
      expect(await swapRoles({ ...options, roles })).toMatchObject({ locked: ['Legacy "x"', 'hashed', 'second_admin'] });
    }
    const reader = { user: 'admin_restored', password: clear.admin };
    expect(await proveCredentials({ server: options.server, reader, roles })).toHaveLength(2);
    await using admin = await connectServer({ ...options.server, ...reader });
    expect(await admin.query(`SELECT 1 FROM pg_roles WHERE rolname LIKE 'walkback%'`)).toEqual([]);
  });

  it.each([
    ['after the temporary role was made', async (broken: SwapRolesOptions) => await createTemporaryRole(broken)],
    [
      'after the roles were replaced',
      async (broken: SwapRolesOptions) => {
        await createTemporaryRole(broken);
        await replaceRoles(broken);
      },
    ],
    ['after everything', async (broken: SwapRolesOptions) => await swapRoles(broken)],
    [
      'in the middle of the transaction',
      async (broken: SwapRolesOptions) => {
        await createTemporaryRole(broken);
        await expect(
          replaceRoles({ ...broken, roles: [...broken.roles, { role: 'nobody', newName: 'x', password: 'y' }] }),
        ).rejects.toMatchObject({
          code: 'ROLE_SWAP_FAILED',
        });
      },
    ],
  ])('swapRoles comes to the same end when an earlier run was interrupted %s', async (_, interrupt) => {
    await interrupt(options);
    expect(await swapRoles(options)).toEqual({
      renamed: [{ role: 'app', newName: 'app_restored' }],
      locked: ['Legacy "x"', 'hashed', 'second_admin'],
    });
    await proveCredentials({ server: options.server, reader: { user: 'admin' }, roles: options.roles });
    expect(await roleNames()).not.toContain('walkback_tmp_1');
  });

  it('swapRoles refuses when the new password is the old one, and when names clash', async () => {
    const refused = async (roles: SwapRolesOptions['roles'], message: RegExp) => {
      const error = await swapRoles({ ...options, roles }).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code: 'ROLE_SWAP_FAILED', message: expect.stringMatching(message) });
      expect(JSON.stringify(error) + String(error)).not.toMatch(/Secret|SCRAM/);
    };
    await refused([{ role: 'app', newName: 'b', password: clear.old }], /is the old one/);
    await refused([{ role: 'hashed', newName: 'b', password: clear.old }], /is the old one/);
    await refused([{ role: 'app', newName: 'hashed', password: clear.new }], /exists already/);
    await refused([{ role: 'gone', newName: 'b', password: clear.new }], /does not exist/);
    await refused([{ role: 'app', newName: 'app', password: clear.new }], /occurs twice/);
    await refused([{ role: 'app', newName: 'b', password: '' }], /is empty/);
    expect(await roleNames()).toContain('app');
  });

  it('proveCredentials fails when the server asks for no password', async () => {
    await swapRoles(options);
    writeFileSync(join(cluster.dataDirectory, 'pg_hba.conf'), 'local all all trust\n');
    await cluster.query('SELECT pg_reload_conf()');
    await expect(proveCredentials({ server: options.server, reader: { user: 'admin' }, roles: options.roles })).rejects.toThrow(
      /made-up password is accepted/,
    );
  });

  it('swapRoles leaves no secret in the log when the server logs every statement', async () => {
    const logged = () => readFileSync(join(cluster.dataDirectory, '../server.log'), 'utf8');
    const before = logged().length;
    await swapRoles(options);
    await proveCredentials({ server: options.server, reader: { user: 'admin' }, roles: options.roles });
    const text = logged().slice(before);
    expect(text).toContain('CREATE ROLE');
    expect(text).not.toMatch(/SCRAM-SHA-256\$|new-Secret|old-Secret|RENAME/);
  });
});
