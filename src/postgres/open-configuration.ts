/** The configuration of a restored cluster that is open to clients: the source's harmless settings, then ours over them. */
import { join } from 'node:path';
import { execa } from 'execa';
import { WalkbackError } from '../domain/errors.ts';
import { carrySettings } from './carried-settings.ts';
import { quoteHbaName, renderConfiguration, type Settings } from './configuration-file.ts';
import { readControlData } from './control-data.ts';
import { writeFileDurably } from '../files/durable-file.ts';
import { inspectMachine } from './machine.ts';
import { clusterNameOf, emptyAutoConfiguration, makePrivateDirectory, settingsOfControl } from './recovery-settings.ts';
import { readSourceSettings } from './source-settings.ts';

/** How the cluster is to be open. */
export interface OpenSettings {
  readonly clusterName: string;
  readonly port: number;
  /** As listen_addresses. */
  readonly listenAddresses: string;
  readonly socketDirectory: string;
  /** Networks that may log in with a password, in CIDR form. Default: loopback. */
  readonly allowFrom?: readonly string[];
  /** Superuser that `operatingSystemUser` may become over the socket without a password. */
  readonly adminRole: string;
  readonly operatingSystemUser: string;
  /** Into the archive of the restored cluster, never the source's. */
  readonly archiveCommand: string;
  /** Default 60. */
  readonly archiveTimeoutSeconds?: number;
}

/** What became of the source's settings; names only. */
export interface OpenedConfiguration {
  readonly carriedOver: readonly string[];
  readonly notCarriedOver: readonly string[];
}

const loopback = ['127.0.0.1/32', '::1/128'];
const identMap = 'walkback';
const defaultArchiveTimeoutSeconds = 60;
const configurationTrialsMaximum = 20;
const configurationTrialTimeoutMs = 10_000;

/**
 * Writes the final configuration; the server reads it at its next start. A carried setting that this server does not take (a locale that is not
 * installed, say) is left out and reported. Safe to repeat, also while the server runs.
 * @throws WalkbackError INVALID_REQUEST, COMMAND_FAILED when PostgreSQL does not accept the configuration without any carried setting
 */
export async function openConfiguration(options: {
  readonly dataDirectory: string;
  readonly binDirectory: string;
  readonly settings: OpenSettings;
}): Promise<OpenedConfiguration> {
  const { dataDirectory, binDirectory, settings } = options;
  const control = await readControlData(dataDirectory);
  const source = await readSourceSettings(dataDirectory);
  const ours = openSettings(settings);
  const { carried, notCarried } = await carrySettings(source.settings, { binDirectory, memoryBytes: (await inspectMachine()).memoryBytes });
  await makePrivateDirectory(settings.socketDirectory);
  await writeFileDurably(join(dataDirectory, 'pg_hba.conf'), renderOpenHba(settings));
  await writeFileDurably(join(dataDirectory, 'pg_ident.conf'), renderIdent(settings));
  await writeFileDurably(join(dataDirectory, 'postgresql.auto.conf'), emptyAutoConfiguration);
  const render = (accepted: Settings) =>
    renderConfiguration(commentOf(settings), new Map([...settingsOfControl(control), ...accepted, ...ours]));
  const refused = await writeAcceptedConfiguration({ dataDirectory, binDirectory, carried, render });
  return {
    carriedOver: [...carried.keys()].filter((name) => !refused.includes(name) && !ours.has(name)),
    notCarriedOver: [...notCarried.filter((name) => !ours.has(name)), ...refused, ...source.includes],
  };
}

function commentOf(settings: OpenSettings): string {
  return `"${clusterNameOf(settings.clusterName)}", restored by walkback. The source's own files are in walkback_restore/source-configuration`;
}

function openSettings(settings: OpenSettings): Settings {
  return new Map([
    ['cluster_name', clusterNameOf(settings.clusterName)],
    ['listen_addresses', settings.listenAddresses],
    ['port', String(settings.port)],
    ['unix_socket_directories', settings.socketDirectory],
    ['unix_socket_permissions', '0700'],
    ['ssl', 'off'],
    ['huge_pages', 'try'],
    ['archive_mode', 'on'],
    ['archive_command', settings.archiveCommand],
    ['archive_timeout', String(settings.archiveTimeoutSeconds ?? defaultArchiveTimeoutSeconds)],
    ['restore_command', ''],
    ['logging_collector', 'on'],
    ['log_destination', 'stderr'],
    ['log_directory', 'log'],
    ['log_filename', 'postgresql-%Y-%m-%d.log'],
    ['log_file_mode', '0600'],
    ['log_timezone', 'UTC'],
    ['lc_messages', 'C'],
  ]);
}

function renderOpenHba(settings: OpenSettings): string {
  return [
    '# Written by walkback: the agent by its system user, everybody else by password.',
    `local all ${quoteHbaName(settings.adminRole)} peer map=${identMap}`,
    'local all all scram-sha-256',
    ...(settings.allowFrom ?? loopback).map((network) => `host all all ${cidr(network)} scram-sha-256`),
    '',
  ].join('\n');
}

function renderIdent(settings: OpenSettings): string {
  return `# Written by walkback.\n${identMap} ${quoteHbaName(settings.operatingSystemUser)} ${quoteHbaName(settings.adminRole)}\n`;
}

function cidr(network: string): string {
  if (/^[0-9A-Fa-f.:]+\/\d{1,3}$/.test(network)) return network;
  throw new WalkbackError('INVALID_REQUEST', `"${network}" is not a network in CIDR form.`, { hint: 'Write it as 10.0.0.0/8.' });
}

interface ConfigurationTrial {
  readonly dataDirectory: string;
  readonly binDirectory: string;
  readonly carried: Settings;
  readonly render: (accepted: Settings) => string;
}

/** Leaves out what the server refuses, until it takes the rest. @returns the names left out */
async function writeAcceptedConfiguration(trial: ConfigurationTrial): Promise<string[]> {
  const accepted = new Map(trial.carried);
  const refused: string[] = [];
  for (let count = 0; count < configurationTrialsMaximum; count += 1) {
    await writeFileDurably(join(trial.dataDirectory, 'postgresql.conf'), trial.render(accepted));
    const complaint = await complaintAbout(trial);
    if (complaint === undefined) return refused;
    const names = [...accepted.keys()].filter((name) => complaint.toLowerCase().includes(`"${name}"`));
    if (names.length === 0) throw notAccepted(trial, complaint);
    for (const name of names) accepted.delete(name);
    refused.push(...names);
  }
  throw notAccepted(trial, `${refused.length} settings were refused one after another`);
}

/** `postgres -C` reads the configuration as a start would, prints one value and ends. */
async function complaintAbout(trial: ConfigurationTrial): Promise<string | undefined> {
  const run = await execa(join(trial.binDirectory, 'postgres'), ['-D', trial.dataDirectory, '-C', 'port'], {
    reject: false,
    extendEnv: false,
    env: { LC_ALL: 'C', TZ: 'UTC' },
    timeout: configurationTrialTimeoutMs,
    stdin: 'ignore',
  });
  return run.exitCode === 0 ? undefined : String(run.stderr || run.shortMessage);
}

function notAccepted(trial: ConfigurationTrial, complaint: string): WalkbackError {
  return new WalkbackError('COMMAND_FAILED', `PostgreSQL does not accept the configuration of ${trial.dataDirectory}.`, {
    facts: { complaint: complaint.slice(0, 2000) },
  });
}
