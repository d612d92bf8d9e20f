/** The form of postgresql.conf (manual, section 20.1.2; src/backend/utils/misc/guc-file.l), pg_hba.conf and pg_ident.conf. */
import { WalkbackError } from '../domain/errors.ts';

/** Settings by name, in the order in which they are written. */
export type Settings = ReadonlyMap<string, string>;

/** A configuration file, as far as it was understood. */
export interface ParsedConfiguration {
  /** The last value of each name wins, as in PostgreSQL. Names in lower case. */
  readonly settings: Settings;
  /** `include` directives, which are not followed. */
  readonly includes: readonly string[];
}

const blockBegin = '# >>> walkback: everything between these lines is written by walkback';
const blockEnd = '# <<< walkback';
const settingLine = /^\s*([A-Za-z_][\w.$]*)(?:\s*=\s*|\s+|(?=['"]))('(?:[^'\\]|''|\\.)*'|[^\s#'=]+)\s*(?:#.*)?$/;
const includeNames: ReadonlySet<string> = new Set(['include', 'include_if_exists', 'include_dir']);

/** Writes settings as a file with one demarcated block. @param comment one line that says what the file is */
export function renderConfiguration(comment: string, settings: Settings): string {
  const lines = [...settings].map(([name, value]) => `${name} = ${quoteValue(value)}`);
  return [`# ${comment}`, blockBegin, ...lines, blockEnd, ''].join('\n');
}

/** A line that says something. */
export interface Directive {
  /** In lower case. */
  readonly name: string;
  readonly value: string;
  /** `include`, `include_if_exists` or `include_dir`: the value is a path. */
  readonly isInclude: boolean;
}

/** Reads a file; lines that are no settings are passed over. */
export function parseConfiguration(text: string): ParsedConfiguration {
  const settings = new Map<string, string>();
  const includes: string[] = [];
  for (const { name, value, isInclude } of parseDirectives(text)) {
    if (isInclude) includes.push(`${name} ${quoteValue(value)}`);
    else settings.set(name, value);
  }
  return { settings, includes };
}

/** The lines of a file in their order, in which later ones win. */
export function parseDirectives(text: string): Directive[] {
  return text.split('\n').flatMap((line) => {
    const [, name, value = ''] = settingLine.exec(line) ?? [];
    if (name === undefined) return [];
    const key = name.toLowerCase();
    return [{ name: key, value: unquoteValue(value), isInclude: includeNames.has(key) }];
  });
}

/** A value in quotes: PostgreSQL reads doubled apostrophes and backslash escapes. @throws WalkbackError INVALID_REQUEST for control characters */
export function quoteValue(value: string): string {
  refuseControlCharacters(value);
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

/**
 * A role or system user in pg_hba.conf and pg_ident.conf: in quotes a name loses its special meaning (`all`, `+group`).
 * @throws WalkbackError INVALID_REQUEST for control characters, and for a leading slash, which is a regular expression even in quotes
 */
export function quoteHbaName(name: string): string {
  refuseControlCharacters(name);
  if (name.startsWith('/'))
    throw new WalkbackError('INVALID_REQUEST', `The role "${name}" begins with a slash, which pg_hba.conf cannot name.`);
  return `"${name.replaceAll('"', '""')}"`;
}

const escapes: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

function unquoteValue(token: string): string {
  if (!token.startsWith("'")) return token;
  return token.slice(1, -1).replaceAll(/''|\\([0-7]{1,3}|.)/gs, (_, escaped: string | undefined) => {
    if (escaped === undefined) return "'";
    return /^[0-7]/.test(escaped) ? String.fromCharCode(Number.parseInt(escaped, 8)) : (escapes[escaped] ?? escaped);
  });
}

function refuseControlCharacters(text: string): void {
  // One line holds one setting, so a line feed would begin another.
  if (/\p{Cc}/u.test(text)) {
    throw new WalkbackError(
      'INVALID_REQUEST',
      `${JSON.stringify(text)} holds a control character and cannot stand in a configuration file.`,
    );
  }
}
