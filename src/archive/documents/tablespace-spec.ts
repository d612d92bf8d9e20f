/** Where the source's tablespaces were (wal-g: internal/databases/postgres/tablespace_spec.go). */
import type { JsonFields } from './exact-json.ts';

/** A tablespace outside PGDATA. */
export interface Tablespace {
  /** Its OID in decimal: the name of the link in pg_tblspc. */
  readonly oid: string;
  /** Where the link led at the source: an absolute path without a slash at the end. */
  readonly location: string;
}

export interface TablespaceSpec {
  /** The source's data directory. */
  readonly basePrefix: string;
  readonly tablespaces: readonly Tablespace[];
}

/** As WAL-G writes it: a member for each tablespace beside the list of their names. */
export function tablespaceSpecJson(spec: TablespaceSpec): Readonly<Record<string, unknown>> {
  const members = spec.tablespaces.map(({ oid, location }) => [oid, { loc: location, link: `pg_tblspc/${oid}` }] as const);
  return { base_prefix: spec.basePrefix, tablespaces: spec.tablespaces.map(({ oid }) => oid), ...Object.fromEntries(members) };
}

/** @returns undefined when there is none or it names no tablespaces. @throws SyntaxError */
export function parseTablespaceSpec(fields: JsonFields | undefined): TablespaceSpec | undefined {
  const oids = fields?.strings('tablespaces') ?? [];
  if (fields === undefined || oids.length === 0) return undefined;
  const tablespaces = oids.map((oid) => {
    const location = fields.required(oid, (all, name) => all.fields(name)).required('loc', (all, name) => all.string(name));
    return { oid, location: location.replace(/(?<=.)\/+$/, '') };
  });
  return { basePrefix: fields.required('base_prefix', (all, name) => all.string(name)), tablespaces };
}
