/** What is known of a source by the files that came along: settings over includes, and what could not come along. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { configurationFindings } from '../../src/postgres/configuration-findings.ts';
import { keepSourceConfiguration } from '../../src/postgres/source-configuration.ts';
import { readSourceSettings } from '../../src/postgres/source-settings.ts';
import { temporaryDirectory } from '../harness/temp.ts';

async function withFiles<T>(files: Readonly<Record<string, string>>, use: (dataDirectory: string) => Promise<T>): Promise<T> {
  await using directory = await temporaryDirectory('settings');
  const dataDirectory = directory.join('data');
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(dataDirectory, name, '..'), { recursive: true });
    await writeFile(join(dataDirectory, name), text);
  }
  await keepSourceConfiguration(dataDirectory);
  return await use(dataDirectory);
}

const nowhere = '/nowhere/bin';

describe('readSourceSettings', () => {
  it('readSourceSettings follows includes inside the data directory, in PostgreSQL’s order, and no others', async () => {
    const files = {
      'postgresql.conf': `work_mem = 1MB\nport = 5432\ninclude_dir 'conf.d'\ninclude 'last.conf'\ninclude_if_exists '/etc/secret.conf'\ninclude '../outside.conf'\n`,
      'postgresql.auto.conf': `port = 5433\n`,
      'conf.d/10-first.conf': `work_mem = 2MB\nlock_timeout = 1s\n`,
      'conf.d/20-second.conf': `work_mem = 3MB\ninclude 'deeper/x.conf'\n`,
      'conf.d/deeper/x.conf': `statement_timeout = 9s\ninclude 'x.conf'\n`,
      'conf.d/.hidden.conf': `work_mem = 99MB\n`,
      'conf.d/README': `work_mem = 98MB\n`,
      'last.conf': `lock_timeout = 2s\n`,
    };
    const read = await withFiles(files, readSourceSettings);
    expect(Object.fromEntries(read.settings)).toEqual({ work_mem: '3MB', port: '5433', lock_timeout: '2s', statement_timeout: '9s' });
    expect(read.hasOwnFile).toBe(true);
    // A file that includes itself is left at a bounded depth.
    expect(read.includes).toEqual(["include 'x.conf'", "include_if_exists '/etc/secret.conf'", "include '../outside.conf'"]);
  });
});

describe('configurationFindings', () => {
  it('configurationFindings says so when the configuration is kept elsewhere, as on Debian', async () => {
    const findings = await withFiles({ 'postgresql.auto.conf': 'work_mem = 1MB\n' }, (path) => configurationFindings(path, nowhere));
    expect(findings.map(({ text }) => text)).toEqual([expect.stringContaining('Debian keeps it in /etc/postgresql')]);
  });

  it('configurationFindings tells of TLS, libraries, huge pages and credentials, by place and never by value', async () => {
    const files = {
      'postgresql.conf': [
        'ssl = on',
        "ssl_cert_file = '/etc/ssl/server.crt'",
        'huge_pages = on',
        "shared_preload_libraries = 'pg_cron, absent'",
        "primary_conninfo = 'host=a password=conninfo-Secret'",
        "ssl_passphrase_command = 'echo passphrase-Secret'",
        '',
      ].join('\n'),
      'pg_hba.conf':
        '# radiussecrets=comment\nhost all all 10.0.0.0/8 ldap ldapserver=a ldapbindpasswd=ldap-Secret\nhost all all all radius radiussecrets="x-Secret"\n',
    };
    const findings = await withFiles(files, (path) => configurationFindings(path, nowhere));
    const texts = findings.map(({ kind, text }) => `${kind}: ${text}`);
    expect(texts).toEqual([
      expect.stringMatching(/^configuration: TLS was on .*ssl_cert_file = \/etc\/ssl\/server\.crt/),
      expect.stringMatching(/^configuration: pg_cron of shared_preload_libraries/),
      expect.stringMatching(/^configuration: absent of shared_preload_libraries/),
      expect.stringMatching(/^configuration: huge_pages/),
      expect.stringMatching(/^credential: primary_conninfo/),
      expect.stringMatching(/^credential: ssl_passphrase_command/),
      expect.stringMatching(/^credential: Line 2 .*ldapbindpasswd/),
      expect.stringMatching(/^credential: Line 3 .*radiussecrets/),
    ]);
    expect(texts.join('\n')).not.toMatch(/Secret/);
  });
});
