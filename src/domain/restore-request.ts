/** What a caller asks for when a cluster is to be walked back; JSON-safe, and free of secrets: passwords are named, never carried. */
import { earlyEndPolicies, type EarlyEndPolicy } from './early-end.ts';
import { WalkbackError } from './errors.ts';
import { assertTargetHasPassed, completeTarget, type RecoveryTarget, type TargetTimeline } from './recovery-target.ts';
import { instantOf } from './instant.ts';
import { checkProblems, isAbsolutePath, isListOf, isObject, roleProblems } from './restore-request-fields.ts';

/**
 * Where a password is: `file` is read on the database host; `generate` makes one there in a new file with mode 0600; `keep` leaves the old one to a
 * role with a new name, which is refused where it is stored as an MD5 hash: those are salted with the name.
 */
export type PasswordReference =
  | { readonly kind: 'keep' }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'generate'; /** Default: `<agent's state directory>/credentials/<cluster>/<role>` */ readonly path?: string };

/** A role of the source that gets a new name, a new password, or both in the restored cluster. */
export interface RoleSwap {
  readonly role: string;
  /** The same as `role`: only the password is new. */
  readonly newName: string;
  readonly password: PasswordReference;
  /** Where the old password is, to prove by a login that it is refused; without it the proof compares verifiers. */
  readonly oldPasswordFile?: string;
}

/** A question to the restored data, with the answer it must give. */
export interface DataCheck {
  /** A query; the first column of its first row is compared. */
  readonly sql: string;
  /** As text, as PostgreSQL prints the value; null for SQL's NULL. */
  readonly expected: string | null;
  /** Default: the source's database of the configuration. */
  readonly database?: string;
}

/** What may be done with the source of a restore. */
export const sourceUses = ['keep', 'stop', 'salvage', 'leave'] as const;
export type SourceUse = (typeof sourceUses)[number];

/** A restore as asked for. */
export interface RestoreRequest {
  /** The source. */
  readonly cluster: string;
  /** Name of the restored cluster; it archives under this name. */
  readonly name: string;
  /** Host id on which it is restored. */
  readonly host: string;
  readonly target: RecoveryTarget;
  /** Which way to go where timelines fork. Default latest. */
  readonly timeline?: TargetTimeline;
  /** Name of the base backup to restore from. Default: the newest that ended before the target. */
  readonly backup?: string;
  /** Absolute path on the host; absent or empty. */
  readonly dataDirectory: string;
  readonly port: number;
  /** Addresses to listen on, once open. Default: the host's configuration. */
  readonly listenAddresses?: string;
  /** Networks that may log in, in CIDR form. Default: loopback only. */
  readonly allowFrom?: readonly string[];
  /**
   * `keep`: the source runs on, its WAL is flushed; `stop`: it is shut down first; `salvage`: it is dead, and what its data directory holds of WAL
   * that is not archived is brought into the archive first; `leave`: it is not asked for anything, and may be gone. Default keep.
   */
  readonly source?: SourceUse;
  /**
   * With `stop`: the source is kept fenced, so that nobody starts it by accident, and `undo` brings it back. In hours from then on; nothing is
   * removed by itself afterwards. Default: it is only stopped.
   */
  readonly retireHours?: number;
  /** Default promote-if-complete. */
  readonly onEarlyEnd?: EarlyEndPolicy;
  /** Default promote. */
  readonly atTarget?: 'promote' | 'pause';
  /** A restore that waits for a person's decision this long is aborted. Default: it waits for ever. */
  readonly decisionWithinMinutes?: number;
  /** A host whose agent does not take a step for this long is asked about: retry or abort. Default 10. */
  readonly hostReturnsWithinMinutes?: number;
  readonly roles?: readonly RoleSwap[];
  /** What happens to login roles not named in `roles`. Default lock. */
  readonly otherLoginRoles?: 'lock' | 'keep';
  readonly checks?: readonly DataCheck[];
  /** Compare row counts with the newest baseline from before the target. Default: it is not done. */
  readonly baseline?: { /** How far a count may be off, in percent of the baseline's. */ readonly tolerancePercent: number };
  /** Let PostgreSQL's amcheck look at every B-tree index and table. Default false. */
  readonly amcheck?: boolean;
  /** Verify the checksum of every page. Default false: the base backup has verified them when it was taken. */
  readonly verifyPages?: boolean;
  /** When the chosen base backup turns out to be damaged in the archive: take the next older one, and replay more WAL. Default false. */
  readonly allowOlderBackup?: boolean;
  /** Restore although libraries of the source's extensions are not on the host. Default false. */
  readonly allowMissingLibraries?: boolean;
  /** Take a first base backup of the restored cluster once it is open; when that fails, the cluster stays open. Default false. */
  readonly protect?: boolean;
}

/** A request with every default filled in. */
export type CompleteRestoreRequest = Required<Omit<RestoreRequest, OptionalField>> & Pick<RestoreRequest, OptionalField>;

/** Fields that stay away when they are not given. */
type OptionalField =
  | 'baseline'
  | 'amcheck'
  | 'verifyPages'
  | 'retireHours'
  | 'listenAddresses'
  | 'backup'
  | 'decisionWithinMinutes'
  | 'hostReturnsWithinMinutes'
  | 'allowMissingLibraries'
  | 'allowOlderBackup';

/** TimeLineID has 32 bits. */
const timelineMaximum = 0xffff_ffff;
/** Four weeks. */
const waitMaximumMinutes = 40_320;
/** A year. */
const retireMaximumHours = 8784;
const backupNamePattern = /^base_[0-9A-F]{24}[0-9A-Z_]{0,60}$/;
const clusterNamePattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
const cidrPattern = /^[0-9A-Fa-f.:]+\/\d{1,3}$/;

/**
 * Checks a request's form and fills in its defaults.
 * @param now the caller's clock; a target after it is refused
 * @throws WalkbackError INVALID_REQUEST naming every wrong field, INVALID_INSTANT, TARGET_IN_FUTURE
 */
export function completeRestoreRequest(request: RestoreRequest, now: Date): CompleteRestoreRequest {
  const problems = problemsOf(request);
  if (problems.length > 0) {
    throw new WalkbackError('INVALID_REQUEST', `The restore request cannot be used: ${problems.join('; ')}.`, { facts: { problems } });
  }
  const target = completeTarget(request.target);
  assertTargetHasPassed(target, instantOf(now));
  return {
    ...request,
    target,
    timeline: request.timeline ?? 'latest',
    allowFrom: request.allowFrom ?? ['127.0.0.1/32', '::1/128'],
    source: request.source ?? 'keep',
    onEarlyEnd: request.onEarlyEnd ?? 'promote-if-complete',
    atTarget: request.atTarget ?? 'promote',
    roles: request.roles ?? [],
    otherLoginRoles: request.otherLoginRoles ?? 'lock',
    checks: request.checks ?? [],
    protect: request.protect ?? false,
  };
}

/** The name of a cluster: it becomes a key in the archive and a workflow id. */
export function isClusterName(name: unknown): name is string {
  return typeof name === 'string' && clusterNamePattern.test(name);
}

function problemsOf(request: RestoreRequest): string[] {
  if (typeof request !== 'object' || request === null) return ['a restore request is an object'];
  const problems: string[] = [];
  const check = (right: boolean, problem: string) => {
    if (!right) problems.push(problem);
  };
  check(isClusterName(request.cluster), 'cluster: a name of letters, digits, "_" and "-", at most 63');
  check(isClusterName(request.name), 'name: a name of letters, digits, "_" and "-", at most 63');
  check(request.name !== request.cluster, 'name: the restored cluster needs a name of its own');
  check(isClusterName(request.host), 'host: the id of the host on which to restore');
  check(isAbsolutePath(request.dataDirectory), 'dataDirectory: an absolute path without ".." parts');
  check(Number.isInteger(request.port) && request.port >= 1 && request.port <= 65_535, 'port: a number from 1 to 65535');
  check(
    isTarget(request.target),
    `target: one of ${Object.entries(fieldOfTarget)
      .map(([kind, field]) => describeForm(kind, field))
      .join(', ')}`,
  );
  check(isTimeline(request.timeline), 'timeline: latest, current or a number from 1 on');
  check(request.backup === undefined || backupNamePattern.test(request.backup), 'backup: the name of a base backup');
  check(isWait(request.decisionWithinMinutes), `decisionWithinMinutes: a number above 0, at most ${waitMaximumMinutes}`);
  check(isWait(request.hostReturnsWithinMinutes), `hostReturnsWithinMinutes: a number above 0, at most ${waitMaximumMinutes}`);
  check(isOneOf(request.source, sourceUses), 'source: keep, stop, salvage or leave');
  check(
    request.retireHours === undefined || (request.source === 'stop' && isHours(request.retireHours)),
    `retireHours: a number above 0, at most ${retireMaximumHours}, and only with source: stop`,
  );
  check(isOneOf(request.onEarlyEnd, earlyEndPolicies), `onEarlyEnd: ${earlyEndPolicies.join(', ')}`);
  check(isOneOf(request.atTarget, ['promote', 'pause']), 'atTarget: promote or pause');
  check(
    request.atTarget !== 'pause' || request.target?.kind !== 'latest',
    'atTarget: there is nothing to pause at; replay to the latest ends in a promotion',
  );
  check(isFlag(request.amcheck), 'amcheck: true or false');
  check(isFlag(request.verifyPages), 'verifyPages: true or false');
  check(isTolerance(request.baseline), 'baseline: { tolerancePercent }, a number from 0 on');
  check(isFlag(request.protect), 'protect: true or false');
  check(isOneOf(request.otherLoginRoles, ['lock', 'keep']), 'otherLoginRoles: lock or keep');
  check(isFlag(request.allowOlderBackup), 'allowOlderBackup: true or false');
  check(
    request.allowOlderBackup !== true || request.backup === undefined,
    'allowOlderBackup: the request names the only backup to restore from, so there is no older one',
  );
  check(isFlag(request.allowMissingLibraries), 'allowMissingLibraries: true or false');
  check(
    isListOf(request.allowFrom, (network) => typeof network === 'string' && cidrPattern.test(network)),
    'allowFrom: networks in CIDR form, for example 10.0.0.0/8',
  );
  check(
    request.listenAddresses === undefined || /^[\w.:*, -]*$/.test(request.listenAddresses),
    'listenAddresses: addresses separated by commas',
  );
  const roles = isListOf(request.roles, isObject) ? roleProblems(request.roles ?? []) : ['roles: a list'];
  const checks = isListOf(request.checks, isObject) ? checkProblems(request.checks ?? []) : ['checks: a list'];
  return [...problems, ...roles, ...checks];
}

/** The field that a target of a kind needs beside `kind`, if any. */
const fieldOfTarget: Readonly<Record<RecoveryTarget['kind'], string | undefined>> = {
  time: 'time',
  lsn: 'lsn',
  xid: 'xid',
  name: 'name',
  immediate: undefined,
  latest: undefined,
};

function describeForm(kind: string, field: string | undefined): string {
  return field === undefined ? `{ kind: "${kind}" }` : `{ kind: "${kind}", ${field} }`;
}

function isTarget(target: unknown): boolean {
  if (!isObject(target) || typeof target['kind'] !== 'string' || !Object.hasOwn(fieldOfTarget, target['kind'])) return false;
  const field = fieldOfTarget[target['kind'] as RecoveryTarget['kind']];
  return (field === undefined || typeof target[field] === 'string') && ['boolean', 'undefined'].includes(typeof target['inclusive']);
}

function isWait(minutes: number | undefined): boolean {
  return minutes === undefined || (minutes > 0 && minutes <= waitMaximumMinutes);
}

function isTolerance(baseline: unknown): boolean {
  return baseline === undefined || (isObject(baseline) && Number(baseline['tolerancePercent']) >= 0);
}

function isHours(hours: unknown): boolean {
  return typeof hours === 'number' && hours > 0 && hours <= retireMaximumHours;
}

function isTimeline(timeline: unknown): boolean {
  if (timeline === undefined || timeline === 'latest' || timeline === 'current') return true;
  return Number.isInteger(timeline) && Number(timeline) >= 1 && Number(timeline) <= timelineMaximum;
}

function isFlag(value: unknown): boolean {
  return value === undefined || typeof value === 'boolean';
}

function isOneOf(value: unknown, allowed: readonly string[]): boolean {
  return value === undefined || (typeof value === 'string' && allowed.includes(value));
}
