/** One thing that is looked at before a restore; JSON-safe. */
import { type ErrorCode, type ErrorFacts, WalkbackError } from './errors.ts';

/** What was found: `unknown` where nothing tells, a `refusal` where a restore would not begin. */
export type CheckVerdict = 'ok' | 'warning' | 'refusal' | 'unknown';

/** What is looked at: the first line in the archive, the rest on the host where the cluster is to land. */
export type PlanCheckName =
  | 'archive'
  | 'base-backup'
  | 'wal'
  | 'agent'
  | 'encryption'
  | 'data-directory'
  | 'name'
  | 'port'
  | 'passwords'
  | 'programs'
  | 'disk'
  | 'tablespaces'
  | 'libraries'
  | 'preload-libraries'
  | 'collations'
  | 'architecture'
  | 'memory'
  | 'settings';

/** A check's answer. */
export interface PlanCheck {
  readonly name: PlanCheckName;
  readonly verdict: CheckVerdict;
  /** One sentence or two, for people. */
  readonly text: string;
  /** Of a refusal: the error that a restore would end with, and what to do. */
  readonly refusal: { readonly code: ErrorCode; readonly hint: string; readonly facts: ErrorFacts } | null;
}

/** An answer that keeps no restore from its work. */
export function found(name: PlanCheckName, verdict: Exclude<CheckVerdict, 'refusal'>, text: string): PlanCheck {
  return { name, verdict, text, refusal: null };
}

/** The answer of a check that failed. */
export function refused(name: PlanCheckName, { code, message, hint, facts }: WalkbackError): PlanCheck {
  return { name, verdict: 'refusal', text: message, refusal: { code, hint, facts } };
}

/** The error of a restore whose checks refuse: that of the first refusal, with the sentences of all. Undefined when none does. */
export function errorOfChecks(checks: readonly PlanCheck[]): WalkbackError | undefined {
  const refusals = checks.filter(({ verdict }) => verdict === 'refusal');
  const [first] = refusals;
  if (first?.refusal == null) return undefined;
  const { code, hint, facts } = first.refusal;
  return new WalkbackError(code, refusals.map(({ text }) => text).join(' '), { hint, facts });
}
