import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectServer } from '../../../src/postgres/connection.ts';
import { proveCredentials } from '../../../src/postgres/credentials-proof.ts';
import { swapRoles, type SwapRolesOptions } from '../../../src/postgres/roles.ts';
import { computeScramVerifier } from '../../../src/postgres/scram.ts';
import { openBreakingProxy } from '../../harness/breaking-proxy.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';

const installations = await availableInstallations();
const clear = { old: 'old-Secret-1', other: 'other-Secret-2', new: 'new-Secret-3', admin: 'admin-Secret-4' };

describe.each(installations)('swapRoles on PostgreSQL $version', (installation) => {
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
      record: swapRecord(),
    };
  });
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

  it('swapRoles gives a role a new password under its old name, and a new name with its old password', async () => {
    await cluster.query(`ALTER ROLE "Legacy ""x""" VALID UNTIL 'infinity'`);
    const roles = [
      { role: 'app', newName: 'app', password: clear.new, oldPassword: clear.old },
      { role: 'Legacy "x"', newName: 'modern', password: undefined },
    ];
    expect((await swapRoles({ ...options, roles })).locked).toEqual(['hashed', 'second_admin']);
    const proofs = await proveCredentials({ server: options.server, reader: { user: 'admin' }, roles });
    expect(proofs).toMatchObject([
      { oldPasswordRefused: true, proof: 'login-attempt' },
      { oldPasswordRefused: false, proof: 'kept' },
    ]);
    const logins = [
      { user: 'app', password: clear.new },
      { user: 'modern', password: clear.other },
    ];
    for (const login of logins) {
      await using connection = await connectServer({ ...options.server, ...login });
      expect(await connection.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    }
  });

  it('swapRoles locks replication roles, and takes the password of every other superuser', async () => {
    const verifier = computeScramVerifier(clear.other);
    await cluster.query(`CREATE ROLE standby REPLICATION LOGIN PASSWORD '${verifier}'`);
    await cluster.query(`ALTER ROLE second_admin PASSWORD '${verifier}'`);
    expect((await swapRoles(options)).locked).toEqual(['Legacy "x"', 'hashed', 'second_admin', 'standby']);
    for (const user of ['standby', 'second_admin']) {
      await expect(connectServer({ ...options.server, user, password: clear.other })).rejects.toMatchObject({
        code: 'POSTGRES_ACCESS_DENIED',
      });
    }
  });

  it.runIf(installation === installations.at(-1))(
    'swapRoles comes to the same end wherever the connection breaks, before or after any statement',
    async () => {
      const reset = await startResetting(cluster);
      const roles = [
        ...options.roles,
        { role: 'Legacy "x"', newName: 'kept', password: undefined },
        { role: 'second_admin', newName: 'second_admin', password: clear.other },
        { role: 'admin', newName: 'admin_restored', password: clear.admin },
      ];
      const reader = { user: 'admin_restored', password: clear.admin };
      await using proxy = await openBreakingProxy(cluster);
      const ends = new Set<string>();
      for (const when of ['before', 'after'] as const) {
        for (let statement = 1; ; statement += 1) {
          const wanted = { ...options, roles, record: swapRecord() };
          proxy.breakAt(statement, when);
          const broken = await swapRoles({ ...wanted, server: { ...options.server, host: proxy.socketDirectory } }).then(
            () => undefined,
            (error: unknown) => error,
          );
          expect([undefined, 'POSTGRES_UNREACHABLE']).toContain((broken as { code?: string } | undefined)?.code);
          const swapped = await swapRoles(wanted);
          await proveCredentials({ server: options.server, reader, roles });
          ends.add(JSON.stringify([swapped, await reset.state()]));
          await reset.run();
          if (broken !== undefined) continue;
          // Every statement of the swap has been broken by now.
          expect(statement).toBeGreaterThan(20);
          break;
        }
      }
      expect([...ends]).toHaveLength(1);
      await reset[Symbol.asyncDispose]();
    },
  );

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
    await refused([{ role: 'app', newName: 'app', password: undefined }], /nothing is to change/);
    await refused([{ role: 'app', newName: 'app', password: clear.old }], /is the old one/);
    await refused([{ role: 'hashed', newName: 'b', password: undefined }], /MD5 hash, which a new name makes useless/);
    await refused([{ role: 'admin', newName: 'b', password: undefined }], /could not log in under its new name/);
    await refused([...options.roles, { role: 'app', newName: 'c', password: clear.new }], /occurs twice/);
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

/** As a file in the restored directory remembers it. */
function swapRecord(): SwapRolesOptions['record'] {
  let isDone = false;
  return {
    isDone: async () => isDone,
    setDone: async () => {
      isDone = true;
    },
  };
}

interface StoredRole {
  readonly oid: string;
  readonly name: string;
  readonly verifier: string | null;
  readonly login: boolean;
}

/** Looks at the roles and puts them back as they were, over a session that has been there from the beginning. */
async function startResetting(cluster: TestCluster) {
  await cluster.query('CREATE ROLE resetter SUPERUSER');
  const session = await connectServer(cluster.connectOptions);
  await session.query('SET ROLE resetter');
  const read = () =>
    session.query<StoredRole>(
      `SELECT oid::text, rolname AS name, rolpassword AS verifier, rolcanlogin AS login FROM pg_authid WHERE rolname NOT LIKE 'pg\\_%' ORDER BY oid`,
    );
  const before = await read();
  return {
    /** Names, and whether they can log in and how; new verifiers have a salt of their own each time. */
    state: async () =>
      (await read()).map(({ oid, name, verifier, login }) => [oid, name, login, verifier === null ? null : verifier.length]),
    run: async () => {
      await session.query(`DROP ROLE IF EXISTS walkback_tmp_1`);
      for (const { oid, name, verifier, login } of before) {
        const values = [oid, name, verifier, login];
        await session.query('UPDATE pg_authid SET rolname = $2, rolpassword = $3, rolcanlogin = $4 WHERE oid = $1::oid', values);
      }
    },
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}
