/** Which relations damaged files belong to: a file's name is of no use to who has to rebuild an index or to bring a table back. */
import type { DamagedFile, PageDamage } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import { type ConnectOptions, connectServer } from './connection.ts';

/** Files whose relations are looked up; the others keep their file names alone. */
const namedFilesMaximum = 20;
/** The cluster is damaged, and a look-up may meet just that: it is not waited for. */
const statementTimeoutMs = 5000;
/** OIDs of the tablespaces that every cluster has (catalog/pg_tablespace.dat). */
const defaultTablespace = 1663;
const sharedTablespace = 1664;

/** Where a relation's file lies. */
interface RelationFile {
  readonly tablespace: number;
  /** OID; undefined for what all databases share. */
  readonly database: number | undefined;
  readonly filenode: number;
}

/**
 * The same damage with the names of the relations, as far as the server tells them: of a file that was dropped, in a database that takes no
 * connections or whose catalogs are damaged it tells none.
 * @param server superuser, in any database
 */
export async function nameDamagedRelations(server: ConnectOptions, damage: PageDamage): Promise<PageDamage> {
  const found = damage.files.slice(0, namedFilesMaximum).map((file) => ({ file, place: relationFileOf(file.file) }));
  const names = new Map<DamagedFile, string>();
  for (const database of new Set(found.map(({ place }) => place?.database))) {
    const wanted = found.flatMap(({ file, place }) => (place !== undefined && place.database === database ? [{ file, place }] : []));
    for (const [file, name] of await namesIn(server, database, wanted)) names.set(file, name);
  }
  const named = damage.files.map((file) => {
    const relation = names.get(file);
    return relation === undefined ? file : { ...file, relation };
  });
  return { ...damage, files: named };
}

async function namesIn(
  server: ConnectOptions,
  database: number | undefined,
  wanted: readonly { readonly file: DamagedFile; readonly place: RelationFile }[],
): Promise<ReadonlyMap<DamagedFile, string>> {
  const names = new Map<DamagedFile, string>();
  if (wanted.length === 0) return names;
  try {
    const options = { ...server, statementTimeoutMs };
    await using connection = await connectServer({ ...options, database: await nameOfDatabase(options, database) });
    const filesOfRelation = await connection.query<{ index: number; name: string }>(
      `SELECT f.index::int, format('%s%I.%I', CASE WHEN $3 THEN '' ELSE quote_ident(current_database()) || '.' END, n.nspname, c.relname) AS name
         FROM unnest($1::oid[], $2::oid[]) WITH ORDINALITY AS f(tablespace, filenode, index)
         JOIN pg_class c ON c.oid = pg_filenode_relation(f.tablespace, f.filenode) JOIN pg_namespace n ON n.oid = c.relnamespace`,
      [wanted.map(({ place }) => place.tablespace), wanted.map(({ place }) => place.filenode), database === undefined],
    );
    for (const { index, name } of filesOfRelation) {
      const of = wanted[index - 1];
      if (of !== undefined) names.set(of.file, name);
    }
  } catch (error) {
    // The damage is reported by file all the same.
    server.signal?.throwIfAborted();
    if (!(error instanceof WalkbackError)) throw error;
  }
  return names;
}

/** @throws WalkbackError NOT_FOUND for one that was dropped */
async function nameOfDatabase(server: ConnectOptions, oid: number | undefined): Promise<string> {
  if (oid === undefined) return server.database;
  await using connection = await connectServer(server);
  const [row] = await connection.query<{ name: string }>('SELECT datname AS name FROM pg_database WHERE oid = $1', [oid]);
  if (row === undefined) throw new WalkbackError('NOT_FOUND', `There is no database with the OID ${oid}.`);
  return row.name;
}

/** By the file's name (manual, section 66.1): a main or another fork, and any of its segments. */
function relationFileOf(file: string): RelationFile | undefined {
  const place =
    /^(?:global|base\/(?<database>\d+)|pg_tblspc\/(?<tablespace>\d+)\/[^/]+\/(?<other>\d+))\/(?<filenode>\d+)(?:_[a-z]+)?(?:\.\d+)?$/;
  const { database, tablespace, other, filenode } = place.exec(file)?.groups ?? {};
  if (filenode === undefined) return undefined;
  const oid = database ?? other;
  if (oid === undefined) return { tablespace: sharedTablespace, database: undefined, filenode: Number(filenode) };
  return {
    tablespace: tablespace === undefined ? defaultTablespace : Number(tablespace),
    database: Number(oid),
    filenode: Number(filenode),
  };
}
