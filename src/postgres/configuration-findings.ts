/** What the source's configuration tells about the restored cluster: what could not come along, and which credentials were in it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FindingKind, RestoredFinding } from '../domain/restored-findings.ts';
import { splitLibraries } from './carried-settings.ts';
import { librariesIn } from './libraries.ts';
import { sourceConfigurationOf } from './source-configuration.ts';
import { readSourceSettings } from './source-settings.ts';

/** Options of pg_hba.conf whose value lets somebody in elsewhere (manual, sections 21.10 and 21.11). */
const hbaSecrets = /\b(ldapbindpasswd|radiussecrets)\s*=/i;
const passwordInConninfo = /\bpassword\s*=/i;
const tlsFiles = ['ssl_cert_file', 'ssl_key_file', 'ssl_ca_file', 'ssl_crl_file', 'ssl_crl_dir', 'ssl_dh_params_file'];
const kept = 'It is kept in walkback_restore/source-configuration and not used.';

/** Reads the files that were kept of the source; names and places only, never a value that may be a secret. */
export async function configurationFindings(dataDirectory: string, binDirectory: string): Promise<RestoredFinding[]> {
  const { settings, includes, hasOwnFile } = await readSourceSettings(dataDirectory);
  const { absent } = await splitLibraries(librariesIn(settings.get('shared_preload_libraries') ?? ''), binDirectory);
  const told = (kind: FindingKind, text: string): RestoredFinding => ({ kind, database: null, text });
  const tls = tlsFiles.filter((name) => settings.has(name)).map((name) => `${name} = ${settings.get(name) ?? ''}`);
  return [
    ...(hasOwnFile
      ? []
      : [
          told(
            'configuration',
            'postgresql.conf was not in the data directory of the source (Debian keeps it in /etc/postgresql): its settings are not known here.',
          ),
        ]),
    ...includes.map((include) =>
      told('configuration', `${include} lies outside of the data directory, or is not there: what it sets is not known here.`),
    ),
    ...(isOn(settings.get('ssl'))
      ? [
          told(
            'configuration',
            `TLS was on at the source and is off here${tls.length === 0 ? '' : ` (${tls.join(', ')})`}: give the restored cluster a certificate of its own.`,
          ),
        ]
      : []),
    ...absent.map((library) =>
      told('configuration', `${library} of shared_preload_libraries is not loaded: it is not installed here, or would act by itself.`),
    ),
    ...(settings.get('huge_pages') === 'on'
      ? [told('configuration', 'huge_pages was on at the source and is try here: the host may have none to spare.')]
      : []),
    ...(passwordInConninfo.test(settings.get('primary_conninfo') ?? '')
      ? [told('credential', `primary_conninfo of the source carries a password. ${kept}`)]
      : []),
    ...(settings.get('ssl_passphrase_command')
      ? [told('credential', `ssl_passphrase_command of the source gives the passphrase of its key. ${kept}`)]
      : []),
    ...(await hbaCredentials(dataDirectory)).map((text) => told('credential', text)),
  ];
}

function isOn(value: string | undefined): boolean {
  return ['on', 'true', 'yes', '1'].includes(value?.toLowerCase() ?? '');
}

async function hbaCredentials(dataDirectory: string): Promise<string[]> {
  const text = await readFile(join(sourceConfigurationOf(dataDirectory), 'pg_hba.conf'), 'utf8').catch(() => '');
  return text.split('\n').flatMap((line, index) => {
    const [, option] = line.trimStart().startsWith('#') ? [] : (hbaSecrets.exec(line) ?? []);
    return option === undefined ? [] : [`Line ${index + 1} of the source's pg_hba.conf carries ${option}. ${kept}`];
  });
}
