/** Commands about a restore: `restore`, `status`, `cancel`. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { RestoreHandle } from '../../client/handles.ts';
import type { Configuration } from '../../config/configuration.ts';
import { WalkbackError } from '../../domain/errors.ts';
import { renderLandingReport } from '../../domain/render-landing-report.ts';
import { earlyEndPolicies, type EarlyEndPolicy } from '../../domain/early-end.ts';
import { describeTarget, parseRecoveryTarget, type RecoveryTarget, type TargetTimeline } from '../../domain/recovery-target.ts';
import { type DataCheck, type RestoreRequest, type RoleSwap, type SourceUse, sourceUses } from '../../domain/restore-request.ts';
import { type CommonOptions, configurationOf, optionsOf, outputOf, withClient } from '../context.ts';
import { follow, noteMissingWorker, renderStep } from '../follow.ts';
import { tellPlan } from '../plan-page.ts';
import { withRestore } from '../restore-handle.ts';
import type { Output } from '../output.ts';

interface RestoreOptions extends CommonOptions {
  readonly to: string;
  readonly as: string;
  readonly dataDirectory: string;
  readonly port: number;
  readonly host?: string;
  readonly source: SourceUse;
  readonly onEarlyEnd: EarlyEndPolicy;
  readonly exclusive?: boolean;
  readonly timeline?: TargetTimeline;
  readonly backup?: string;
  readonly decideWithin?: number;
  readonly hostReturnsWithin?: number;
  readonly atTarget: 'promote' | 'pause';
  readonly role: readonly RoleSwap[];
  readonly otherLoginRoles: 'lock' | 'keep';
  readonly check: readonly DataCheck[];
  readonly listenAddresses?: string;
  readonly allowFrom?: readonly string[];
  readonly allowMissingLibraries?: boolean;
  readonly allowOlderBackup?: boolean;
  readonly protect?: boolean;
  readonly plan?: boolean;
  readonly retire?: number;
  readonly baseline?: true | string;
  readonly amcheck?: boolean;
  readonly verifyPages?: boolean;
  readonly agentCheck: boolean;
  readonly wait: boolean;
  readonly direct?: boolean;
}

const restoreExamples = `
Examples:
  walkback restore shop --to 2026-11-22T11:57:00Z --as shop-1157 --data-directory /var/lib/postgresql/shop-1157 --port 5433
  walkback restore shop --to '2026-11-22 12:57:00+01:00' --as shop-1157 --data-directory /srv/shop-1157 --port 5433 \\
    --role shop_owner=shop_owner_1157 --check 'SELECT count(*) FROM customers = 5' --at-target pause
  walkback restore shop --to '5 minutes ago' --as shop-look --data-directory /srv/shop-look --port 5433 --plan

--to takes an instant (with offset or Z), now, "5 minutes ago", latest, immediate (as soon as the base backup is consistent),
lsn:0/5000028, xid:734 (64-bit ids too), or name:before-drop (a restore point, see \`walkback restore-point\`). Passwords are never given here: --role OLD=NEW has the host make one into a file that only the agent's user can
read, and --role OLD=NEW,password=/path,old=/path names files on the host. OLD=OLD gives only a new password, and password=keep only a new name.`;

/** Adds the commands. */
export function addRestoreCommands(program: Command): void {
  program
    .command('restore')
    .argument('<cluster>', 'the source')
    .description('restore a cluster as it was at an instant, as a new cluster with credentials of its own')
    .requiredOption('--to <target>', 'an instant with offset or Z, now, "5 minutes ago", latest, immediate, lsn:…, xid:… or name:…')
    .option('--exclusive', 'leave out the commit exactly at the instant, the record at the position, or the transaction itself')
    .option('--timeline <which>', 'where timelines fork: latest (default), current (that of the base backup) or a number', parseTimeline)
    .option('--backup <name>', 'base backup to restore from; default: the newest that ended before the target')
    .requiredOption('--as <name>', 'name of the restored cluster')
    .requiredOption('--data-directory <path>', 'where to restore, on the host; absent or empty')
    .requiredOption('--port <port>', 'port of the restored cluster', parsePort)
    .option('--host <id>', "host to restore on; default: the source's")
    .addOption(
      new Option(
        '--source <what>',
        'keep the source running, stop it first, salvage the WAL that it has left when it is dead, or leave it alone: it may be gone',
      )
        .choices(sourceUses)
        .default('keep'),
    )
    .addOption(
      new Option('--at-target <what>', 'promote, or pause for a look and a decision').choices(['promote', 'pause']).default('promote'),
    )
    .addOption(
      new Option('--on-early-end <policy>', 'when the WAL ends before the target').choices(earlyEndPolicies).default('promote-if-complete'),
    )
    .option('--decide-within <minutes>', 'abort a restore that waits for a decision this long; default: it waits', parseMinutes)
    .option('--host-returns-within <minutes>', 'ask what to do about a host whose agent is away this long; default: 10', parseMinutes)
    .option('--role <old=new>', 'give a role a new name and a new password, or one of both; may be repeated', collectRole, [])
    .addOption(
      new Option('--other-login-roles <what>', 'lock or keep the other roles that can log in').choices(['lock', 'keep']).default('lock'),
    )
    .option('--check <sql = value>', 'a query and the value it must give; may be repeated', collectCheck, [])
    .option(
      '--baseline [percent]',
      'compare row counts with the newest `walkback baseline` from before the target; off by at most so much, default 0',
    )
    .option('--amcheck', "let PostgreSQL's amcheck look at every index and table")
    .option('--verify-pages', 'verify the checksum of every page')
    .option('--listen-addresses <addresses>', "default: the host's configuration")
    .option('--allow-from <cidr...>', 'networks that may log in; default: loopback')
    .option('--plan', 'print what the restore would do, with every check of archive and host, and do nothing')
    .option('--allow-older-backup', 'when the chosen base backup is damaged in the archive, take the next older one')
    .option('--allow-missing-libraries', "restore although libraries of the source's extensions are not on the host")
    .option('--retire <hours>', 'with --source stop: keep the source behind a fence, to be brought back by `walkback undo`', parseHours)
    .option('--protect', 'take a first base backup of the restored cluster once it is open')
    .option('--no-agent-check', 'start it even when no agent answers on the host; it then has half a minute to come up')
    .option('--no-wait', 'only start it, and print its id')
    .option('--direct', 'have the agent of this host restore by itself, without Temporal: the day its own database has to be restored')
    .addHelpText('after', restoreExamples)
    .action(async (cluster: string, _options: object, command: Command) => restore(cluster, optionsOf<RestoreOptions>(command)));
  program
    .command('status')
    .argument('<id>', 'id of a restore or base backup')
    .description('tell where an operation stands')
    .addHelpText('after', '\nExample:\n  walkback status restore/db-1/srv/shop-1157')
    .action(async (id: string, _options: object, command: Command) => status(id, optionsOf(command)));
  program
    .command('cancel')
    .argument('<id>', 'id of a running restore or base backup')
    .description('stop an operation: nothing is left running, and what was restored so far is kept and named')
    .addHelpText('after', '\nExample:\n  walkback cancel restore/db-1/srv/shop-1157')
    .action(async (id: string, _options: object, command: Command) => cancel(id, optionsOf(command)));
}

async function restore(cluster: string, options: RestoreOptions): Promise<void> {
  const output = outputOf(options);
  // What can be told without any server is told first.
  const target = parseRecoveryTarget(options.to, options.exclusive === true ? { inclusive: false } : {});
  const loaded = await configurationOf(options);
  const { clusterOf } = await import('../../config/configuration.ts');
  const request = requestOf({
    cluster,
    target,
    options,
    host: options.host ?? hostOf(loaded.configuration, clusterOf(loaded.configuration, cluster)),
  });
  if (options.direct === true) return await restoreWithoutTemporal(loaded.configuration, request, { output, options });
  await withClient(loaded, async (client) => {
    if (options.plan === true) return tellPlan(await client.planRestore(request), output);
    const handle = await client.startRestore(request, { requireAgent: options.agentCheck });
    output.note(`Restore ${handle.workflowId} of ${cluster} to ${inBothTimes(target)} is started.`);
    await noteMissingWorker(client, output);
    if (!options.wait) return output.answer({ ok: true, workflowId: handle.workflowId }, handle.workflowId);
    await answerReport(handle, output);
  });
}

async function restoreWithoutTemporal(
  { host }: Configuration,
  request: RestoreRequest,
  { output, options }: { readonly output: Output; readonly options: RestoreOptions },
): Promise<void> {
  const { planDirectly, restoreDirectly } = await import('../direct-restore.ts');
  if (options.plan === true) return tellPlan(await planDirectly(host.socket, request), output);
  if (!options.wait)
    throw new WalkbackError(
      'INVALID_REQUEST',
      '--direct and --no-wait do not go together: this command has the agent go on should it be restarted.',
    );
  const report = await restoreDirectly(host.socket, request, output);
  output.answer({ ok: true, workflowId: report.restoreId, report }, renderLandingReport(report));
}

function requestOf(parts: { cluster: string; target: RestoreRequest['target']; options: RestoreOptions; host: string }): RestoreRequest {
  const { cluster, target, options, host } = parts;
  return {
    cluster,
    name: options.as,
    host,
    target,
    dataDirectory: options.dataDirectory,
    port: options.port,
    source: options.source,
    onEarlyEnd: options.onEarlyEnd,
    atTarget: options.atTarget,
    roles: options.role,
    otherLoginRoles: options.otherLoginRoles,
    checks: options.check,
    ...(options.baseline === undefined ? {} : { baseline: { tolerancePercent: options.baseline === true ? 0 : Number(options.baseline) } }),
    ...(options.amcheck === true ? { amcheck: true } : {}),
    ...(options.verifyPages === true ? { verifyPages: true } : {}),
    ...(options.retire === undefined ? {} : { retireHours: options.retire }),
    ...(options.protect === true ? { protect: true } : {}),
    ...(options.timeline === undefined ? {} : { timeline: options.timeline }),
    ...(options.backup === undefined ? {} : { backup: options.backup }),
    ...(options.decideWithin === undefined ? {} : { decisionWithinMinutes: options.decideWithin }),
    ...(options.hostReturnsWithin === undefined ? {} : { hostReturnsWithinMinutes: options.hostReturnsWithin }),
    ...(options.allowOlderBackup === undefined ? {} : { allowOlderBackup: options.allowOlderBackup }),
    ...(options.allowMissingLibraries === undefined ? {} : { allowMissingLibraries: options.allowMissingLibraries }),
    ...(options.listenAddresses === undefined ? {} : { listenAddresses: options.listenAddresses }),
    ...(options.allowFrom === undefined ? {} : { allowFrom: options.allowFrom }),
  };
}

function hostOf(configuration: Configuration, cluster: Configuration['clusters'][number]): string {
  const host = cluster.host ?? configuration.host.id;
  if (host !== undefined) return host;
  throw new WalkbackError('INVALID_REQUEST', `Nothing says on which host to restore "${cluster.name}".`, {
    hint: 'Give --host, or set the host of the cluster in walkback.yaml.',
  });
}

/** Waits for the landing and prints it. */
export async function answerReport(handle: RestoreHandle, output: Output): Promise<void> {
  const report = await follow(handle, output);
  output.answer({ ok: true, workflowId: handle.workflowId, report }, renderLandingReport(report));
}

async function status(id: string, options: CommonOptions): Promise<void> {
  const output = outputOf(options);
  await withRestore(id, options, async (handle) => {
    const progress = await handle.progress();
    const lines = [
      `${id}: ${progress.status}`,
      `${progress.phase}: ${progress.summary}`,
      ...(progress.waitingFor === null || progress.waitingFor === undefined ? [] : [`waiting for ${progress.waitingFor}`]),
      ...progress.steps.map(renderStep),
    ];
    output.answer({ ok: true, workflowId: id, ...progress }, lines.join('\n'));
  });
}

async function cancel(id: string, options: CommonOptions): Promise<void> {
  const output = outputOf(options);
  await withRestore(id, options, async (handle) => {
    await handle.cancel();
    output.answer({ ok: true, workflowId: id }, `${id} is asked to stop; \`walkback status ${id}\` tells when it has.`);
  });
}

/** UTC, and what the clock on the wall says. */
export function inBothTimes(target: RecoveryTarget): string {
  return target.kind === 'time' ? `${describeTarget(target)} (here: ${new Date(target.time).toLocaleString()})` : describeTarget(target);
}

/** A number of minutes, or the error that commander shows. */
function parseMinutes(text: string): number {
  const minutes = Number(text);
  if (minutes > 0) return minutes;
  throw new InvalidArgumentError('Give a number of minutes.');
}

function parseHours(text: string): number {
  const hours = Number(text);
  if (hours > 0) return hours;
  throw new InvalidArgumentError('Give a number of hours.');
}

function parseTimeline(text: string): TargetTimeline {
  if (text === 'latest' || text === 'current') return text;
  const timeline = Number(text);
  if (Number.isInteger(timeline) && timeline >= 1) return timeline;
  throw new InvalidArgumentError('A timeline is latest, current or a number from 1 on.');
}

function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new InvalidArgumentError('A port is a number from 1 to 65535.');
}

/** `old=new`, `old=new,password=/path`, `old=new,password=/path,old=/path` */
function collectRole(text: string, before: readonly RoleSwap[]): readonly RoleSwap[] {
  const [names = '', ...rest] = text.split(',');
  const [role, newName, ...more] = names.split('=');
  const files = new Map(rest.map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]));
  const known = [...files.keys()].every((key) => key === 'password' || key === 'old');
  if (role === undefined || newName === undefined || role === '' || newName === '' || more.length > 0 || !known) {
    throw new InvalidArgumentError('Write OLD=NEW, and if you like ,password=/file and ,old=/file after it.');
  }
  const [passwordFile, oldPasswordFile] = [files.get('password'), files.get('old')];
  const password = passwordReference(passwordFile);
  return [...before, { role, newName, password, ...(oldPasswordFile === undefined ? {} : { oldPasswordFile }) }];
}

function passwordReference(text: string | undefined): RoleSwap['password'] {
  if (text === undefined) return { kind: 'generate' };
  return text === 'keep' ? { kind: 'keep' } : { kind: 'file', path: text };
}

/** `SELECT count(*) FROM customers = 5`: what stands behind the last equals sign is the expected value. */
function collectCheck(text: string, before: readonly DataCheck[]): readonly DataCheck[] {
  const at = text.lastIndexOf('=');
  const sql = text.slice(0, at).trim();
  if (at < 1 || sql === '') throw new InvalidArgumentError('Write a query, an equals sign and the value it must give.');
  return [...before, { sql, expected: text.slice(at + 1).trim() }];
}
