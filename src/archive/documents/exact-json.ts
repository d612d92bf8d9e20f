/**
 * JSON whose integers are exact. WAL-G writes positions and system identifiers as bare numbers up to 2^64-1 (wal-g:
 * backup_sentinel_dto.go), which JSON.parse would round. Reading is case-insensitive, as Go's decoder is.
 */

/** ES2025's JSON source text access, which Node 22 has and TypeScript's libraries for ES2024 do not describe. */
interface SourceTextJson {
  parse(text: string, reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown): unknown;
  rawJSON(text: string): object;
}
const json = JSON as unknown as SourceTextJson;

const integerPattern = /^-?\d+$/;

/** Parses JSON; an integer that a number cannot hold exactly becomes a bigint. @throws SyntaxError */
export function parseExactJson(text: string): unknown {
  return json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && source !== undefined && integerPattern.test(source)
      ? BigInt(source)
      : value,
  );
}

/** Writes JSON; a bigint becomes a bare number with all its digits. */
export function stringifyExactJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => (typeof member === 'bigint' ? json.rawJSON(member.toString()) : member));
}

/** The members of a JSON object by name, whatever their case. */
export class JsonFields {
  readonly #values: ReadonlyMap<string, unknown>;
  readonly #what: string;

  /** @throws SyntaxError when the value is no object */
  constructor(value: unknown, what: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SyntaxError(`${what} is not a JSON object`);
    this.#values = new Map(Object.entries(value).map(([name, member]) => [name.toLowerCase(), member]));
    this.#what = what;
  }

  /** The raw value; undefined when the member is absent or null. */
  value(name: string): unknown {
    return this.#values.get(name.toLowerCase()) ?? undefined;
  }

  string(name: string): string | undefined {
    return this.#typed(name, 'a string', (value) => (typeof value === 'string' ? value : undefined));
  }

  boolean(name: string): boolean | undefined {
    return this.#typed(name, 'true or false', (value) => (typeof value === 'boolean' ? value : undefined));
  }

  /** A whole number of up to 64 bits. */
  bigint(name: string): bigint | undefined {
    return this.#typed(name, 'a whole number', (value) => {
      if (typeof value === 'bigint') return value;
      return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : undefined;
    });
  }

  /** A whole number of at most 2^53. */
  integer(name: string): number | undefined {
    return this.#typed(name, 'a whole number', (value) => (typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined));
  }

  fields(name: string): JsonFields | undefined {
    const value = this.value(name);
    return value === undefined ? undefined : new JsonFields(value, `"${name}" of ${this.#what}`);
  }

  strings(name: string): readonly string[] | undefined {
    return this.#typed(name, 'a list of strings', (value) =>
      Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined,
    );
  }

  /** @throws SyntaxError naming the member, when a reader needs it and it is absent or null */
  required<T>(name: string, read: (fields: this, name: string) => T | undefined): T {
    const value = read(this, name);
    if (value === undefined) throw new SyntaxError(`${this.#what} has no "${name}"`);
    return value;
  }

  #typed<T>(name: string, expected: string, convert: (value: unknown) => T | undefined): T | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    const converted = convert(value);
    if (converted === undefined) throw new SyntaxError(`"${name}" of ${this.#what} is not ${expected}`);
    return converted;
  }
}
