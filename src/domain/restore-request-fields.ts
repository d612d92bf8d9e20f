/** The form of the larger fields of a restore request. */
import type { DataCheck, RoleSwap } from './restore-request.ts';

const listMaximum = 100;
const sqlMaximumLength = 4096;

/** What is wrong with the roles of a request. */
export function roleProblems(roles: readonly RoleSwap[]): string[] {
  const problems = roles.flatMap((swap) => {
    const names = [swap.role, swap.newName].every(
      (name) => typeof name === 'string' && name !== '' && new TextEncoder().encode(name).length <= 63,
    );
    const reference = isPasswordReference(swap.password);
    return [
      ...(names ? [] : ['roles: role and newName are names of 1 to 63 bytes']),
      ...(swap.oldPasswordFile === undefined || isAbsolutePath(swap.oldPasswordFile)
        ? []
        : [`roles: oldPasswordFile of "${swap.role}" is an absolute path`]),
      ...(swap.role === swap.newName && swap.password?.kind === 'keep' ? [`roles: nothing is to change about "${swap.role}"`] : []),
      ...(reference
        ? []
        : [
            `roles: the password of "${swap.newName}" is named as { kind: "file", path }, { kind: "generate" } or { kind: "keep" }, with an absolute path`,
          ]),
    ];
  });
  const names = roles.flatMap(({ role, newName }) => (role === newName ? [role] : [role, newName]));
  if (new Set(names).size !== names.length) problems.push('roles: every old and new name may occur once');
  if (roles.length > listMaximum) problems.push(`roles: at most ${listMaximum}`);
  return problems;
}

function isPasswordReference(password: unknown): boolean {
  if (!isObject(password)) return false;
  const { kind, path } = password;
  return (
    kind === 'keep' || (kind === 'generate' && path === undefined) || ((kind === 'generate' || kind === 'file') && isAbsolutePath(path))
  );
}

/** What is wrong with the checks of a request. */
export function checkProblems(checks: readonly DataCheck[]): string[] {
  const right = checks.every(
    (check) =>
      typeof check.sql === 'string' &&
      check.sql.trim() !== '' &&
      check.sql.length <= sqlMaximumLength &&
      (check.expected === null || typeof check.expected === 'string'),
  );
  return [
    ...(right ? [] : [`checks: each has sql (at most ${sqlMaximumLength} characters) and expected, a text or null`]),
    ...(checks.length > listMaximum ? [`checks: at most ${listMaximum}`] : []),
  ];
}

/** A path on a host, without a way out of it. */
export function isAbsolutePath(path: unknown): boolean {
  return (
    typeof path === 'string' &&
    path.startsWith('/') &&
    path.length > 1 &&
    path.length <= 1024 &&
    !path.split('/').includes('..') &&
    !path.includes('\0')
  );
}

/** Something with members. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** Absent, or a list of such items. */
export function isListOf(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return value === undefined || (Array.isArray(value) && value.every(isItem));
}
