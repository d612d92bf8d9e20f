/** Where a tar's member belongs in the new data directory. */
import { join } from 'node:path';
import type { TablespaceSpec } from '../documents/tablespace-spec.ts';
import { restoredTablespacesDirectoryName } from '../layout.ts';

/** The name without `./` or `/` in front, as WAL-G's local and remote backups and WAL-E differ in that. Empty: the data directory itself. @throws SyntaxError for a name that leads elsewhere */
export function normalizedMemberName(name: string): string {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || name.includes('\0')) throw new SyntaxError(`the tar member "${name}" would lie outside the data directory`);
  return parts.join('/');
}

/** Path of a member: what belongs to a tablespace goes to its new place, which pg_tblspc links to. */
export function memberPath(normalizedName: string, into: string, tablespaces: TablespaceSpec | undefined): string {
  const [first, oid, ...rest] = normalizedName.split('/');
  const isMoved = first === 'pg_tblspc' && tablespaces?.tablespaces.some((tablespace) => tablespace.oid === oid) === true;
  return isMoved && oid !== undefined ? join(tablespaceDirectory(into, oid), ...rest) : join(into, normalizedName);
}

/** New place of a tablespace. */
export function tablespaceDirectory(into: string, oid: string): string {
  return join(into, restoredTablespacesDirectoryName, oid);
}

/**
 * The tablespace_map that makes PostgreSQL link to the new places when recovery starts (src/backend/access/transam/xlogrecovery.c,
 * read_tablespace_map): a line for each, with backslashes and line ends escaped by a backslash.
 */
export function tablespaceMap(into: string, tablespaces: TablespaceSpec): string {
  const lines = tablespaces.tablespaces.map(({ oid }) => `${oid} ${tablespaceDirectory(into, oid).replace(/[\\\n\r]/g, '\\$&')}\n`);
  return lines.join('');
}
