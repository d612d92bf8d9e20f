/**
 * files_metadata.json (wal-g: backup_sentinel_dto.go, FilesMetadataDto; internal/backup_file_description.go): every member of every tar
 * with its time of change, from which WAL-G's delta backups and its restore choose. It may name a million files, so it is written
 * in pieces, one for each part.
 */
import { JsonFields, parseExactJson } from './exact-json.ts';

/** What a file list says of a member. */
export interface ListedFile {
  /** The tar member's name, byte for byte. */
  readonly name: string;
  /** Nanoseconds since 1970, from an lstat before the file was read: WAL-G's delta leaves files out whose time equals it. */
  readonly changedNs: bigint;
}

/** The text about one part, ready to be joined with others. */
export interface FileListPiece {
  readonly memberCount: number;
  readonly files: Buffer;
  readonly tarFileSet: Buffer;
}

/** The members of one part as text. */
export function fileListPiece(tarName: string, members: readonly ListedFile[]): FileListPiece {
  const files = members.map(({ name, changedNs }) => `${JSON.stringify(name)}:${fileDescription(changedNs)}`);
  const names = members.map(({ name }) => name);
  return {
    memberCount: members.length,
    files: Buffer.from(files.join(',')),
    tarFileSet: Buffer.from(`${JSON.stringify(tarName)}:${JSON.stringify(names)}`),
  };
}

/** The whole document, piece by piece. */
export function* filesMetadataDocument(
  pieces: readonly FileListPiece[],
  otherTars: Readonly<Record<string, readonly string[]>>,
): Generator<Buffer> {
  const listed = pieces.filter(({ memberCount }) => memberCount > 0);
  yield Buffer.from('{"Files":{');
  yield* joined(listed.map(({ files }) => files));
  yield Buffer.from('},"TarFileSets":{');
  const others = Object.entries(otherTars).map(([tar, members]) => Buffer.from(`${JSON.stringify(tar)}:${JSON.stringify(members)}`));
  yield* joined([...pieces.map(({ tarFileSet }) => tarFileSet), ...others]);
  yield Buffer.from('}}');
}

/** RFC 3339 in UTC with as many digits of the second as there are nanoseconds. */
export function formatNanoseconds(sinceEpochNs: bigint): string {
  const fractionNs = ((sinceEpochNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const seconds = new Date(Number((sinceEpochNs - fractionNs) / 1_000_000n)).toISOString().slice(0, 19);
  const fraction = fractionNs.toString().padStart(9, '0').replace(/0+$/, '');
  return fraction === '' ? `${seconds}Z` : `${seconds}.${fraction}Z`;
}

/** What a reader takes from the document: the tars it names and the members of each. @throws SyntaxError */
export function parseTarFileSets(text: string): ReadonlyMap<string, readonly string[]> {
  const document = new JsonFields(parseExactJson(text), 'files_metadata.json');
  const sets = (document.value('TarFileSets') ?? {}) as Readonly<Record<string, unknown>>;
  const fields = new JsonFields(sets, '"TarFileSets" of files_metadata.json');
  return new Map(Object.keys(sets).map((tar) => [tar, fields.strings(tar) ?? []]));
}

function fileDescription(changedNs: bigint): string {
  return `{"IsIncremented":false,"IsSkipped":false,"MTime":"${formatNanoseconds(changedNs)}","UpdatesCount":0}`;
}

function* joined(texts: readonly Buffer[]): Generator<Buffer> {
  for (const [index, text] of texts.entries()) {
    if (index > 0) yield Buffer.from(',');
    yield text;
  }
}
