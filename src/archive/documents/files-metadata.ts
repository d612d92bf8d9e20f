/**
 * files_metadata.json (wal-g: backup_sentinel_dto.go, FilesMetadataDto; internal/backup_file_description.go): every member of every tar
 * with its time of change, from which WAL-G's delta backups and its restore choose. It may name a million files, so it is written
 * in pieces, one for each part.
 */
import { JsonFields, parseExactJson } from './exact-json.ts';
import { HeldText } from './held-text.ts';

/** What a file list says of a member. */
export interface ListedFile {
  /** The tar member's name, byte for byte. */
  readonly name: string;
  /** Nanoseconds since 1970, from an lstat before the file was read: WAL-G's delta leaves files out whose time equals it. */
  readonly changedNs: bigint;
  /** Only pages that changed since the parent backup are in the tar. Default false. */
  readonly isIncremented?: boolean;
  /** Unchanged since the parent backup, and in no tar of this one. Default false. */
  readonly isSkipped?: boolean;
  /** Pages whose checksum is wrong: how many, and the first of them. */
  readonly damagedBlocks?: { readonly count: number; readonly first: readonly number[] } | undefined;
  /** Ours, which WAL-G ignores: size of the restored file, and its checksum as backup_manifest has it. */
  readonly restored?: { readonly sizeBytes: number; readonly checksum: string | undefined } | undefined;
}

/** The text about one part, ready to be joined with others. */
export interface FileListPiece {
  readonly memberCount: number;
  readonly files: HeldText;
  /** Undefined for files that are in no tar. */
  readonly tarFileSet: HeldText | undefined;
}

/** The members of one part as text. @param tarName undefined for files that are in no tar */
export function fileListPiece(tarName: string | undefined, members: readonly ListedFile[]): FileListPiece {
  const names = members.map(({ name }) => name);
  return {
    memberCount: members.length,
    files: new HeldText(members.map(fileEntry).join(',')),
    tarFileSet: tarName === undefined ? undefined : new HeldText(`${JSON.stringify(tarName)}:${JSON.stringify(names)}`),
  };
}

/**
 * The whole document, piece by piece.
 * @param others tars that no piece is about, and files of them that a restore has to be told of
 */
export function* filesMetadataDocument(
  pieces: readonly FileListPiece[],
  others: { readonly tars: Readonly<Record<string, readonly string[]>>; readonly files?: readonly ListedFile[] },
): Generator<Buffer> {
  const tars = Object.entries(others.tars).map(([tar, members]) => Buffer.from(`${JSON.stringify(tar)}:${JSON.stringify(members)}`));
  const files = (others.files ?? []).map((file) => Buffer.from(fileEntry(file)));
  yield Buffer.from('{"Files":{');
  yield* joined(textsOf(pieces, 'files'), files);
  yield Buffer.from('},"TarFileSets":{');
  yield* joined(textsOf(pieces, 'tarFileSet'), tars);
  yield Buffer.from('}}');
}

/** RFC 3339 in UTC with as many digits of the second as there are nanoseconds. */
export function formatNanoseconds(sinceEpochNs: bigint): string {
  const fractionNs = ((sinceEpochNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const seconds = new Date(Number((sinceEpochNs - fractionNs) / 1_000_000n)).toISOString().slice(0, 19);
  const fraction = fractionNs.toString().padStart(9, '0').replace(/0+$/, '');
  return fraction === '' ? `${seconds}Z` : `${seconds}.${fraction}Z`;
}

const nanosecondsPattern = /^(\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

/** Reads RFC 3339 with any offset and up to nine digits of the second. @throws SyntaxError */
export function parseNanoseconds(text: string): bigint {
  const [, seconds, fraction = '', zone] = nanosecondsPattern.exec(text) ?? [];
  const milliseconds = Date.parse(`${seconds}${zone}`);
  if (Number.isNaN(milliseconds)) throw new SyntaxError(`"${text}" is not a time of RFC 3339`);
  return BigInt(milliseconds) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}

/** What a reader takes from the document: the tars it names and the members of each. @throws SyntaxError */
export function parseTarFileSets(text: string): ReadonlyMap<string, readonly string[]> {
  const document = new JsonFields(parseExactJson(text), 'files_metadata.json');
  const sets = (document.value('TarFileSets') ?? {}) as Readonly<Record<string, unknown>>;
  const fields = new JsonFields(sets, '"TarFileSets" of files_metadata.json');
  return new Map(Object.keys(sets).map((tar) => [tar, fields.strings(tar) ?? []]));
}

function fileEntry({ name, changedNs, isIncremented = false, isSkipped = false, damagedBlocks, restored }: ListedFile): string {
  const corrupt =
    damagedBlocks === undefined
      ? ''
      : `"CorruptBlocks":{"CorruptBlocksCount":${damagedBlocks.count},"SomeCorruptBlocks":[${damagedBlocks.first.join(',')}]},`;
  const checksum = restored?.checksum === undefined ? '' : `,"WalkbackChecksum":"${restored.checksum}"`;
  const ours = restored === undefined ? '' : `,"WalkbackBytes":${restored.sizeBytes}${checksum}`;
  const flags = `"IsIncremented":${isIncremented},"IsSkipped":${isSkipped}`;
  return `${JSON.stringify(name)}:{${flags},"MTime":"${formatNanoseconds(changedNs)}",${corrupt}"UpdatesCount":0${ours}}`;
}

function* textsOf(pieces: readonly FileListPiece[], what: 'files' | 'tarFileSet'): Generator<Buffer> {
  for (const { [what]: text } of pieces) if (text !== undefined && text.sizeBytes > 0) yield text.bytes();
}

function* joined(...lists: readonly Iterable<Buffer>[]): Generator<Buffer> {
  let isFirst = true;
  for (const list of lists) {
    for (const text of list) {
      if (!isFirst) yield Buffer.from(',');
      isFirst = false;
      yield text;
    }
  }
}
