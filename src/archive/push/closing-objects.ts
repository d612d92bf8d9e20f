/** What is stored after the parts of a base backup: pg_control, the labels with PostgreSQL's manifest, the file list and our manifest. */
import type { ObjectStore } from '../../storage/object-store.ts';
import type { BackupStart, BackupStop } from '../base-backup-push.ts';
import type { Codec } from '../compression/codec.ts';
import { none } from '../compression/none.ts';
import { backupManifestBytes, backupManifestDocument, manifestEntry, type ManifestFile } from '../documents/backup-manifest.ts';
import { filesMetadataDocument } from '../documents/files-metadata.ts';
import { HeldText } from '../documents/held-text.ts';
import { type StoredObject, stringifyManifest } from '../documents/manifest.ts';
import { putDocument } from '../documents/stored-document.ts';
import {
  backupLabelTarName,
  backupManifestMember,
  filesMetadataKey,
  labelMembers,
  manifestKey,
  pgControlMember,
  pgControlTarName,
  tarPartitionsPrefix,
  withExtension,
} from '../layout.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import { allEnded } from '../parallel.ts';
import { digestOf, type ManifestChecksum } from './file-digest.ts';
import { uploadObject } from './object-upload.ts';
import type { SentParts } from './part-upload.ts';
import { type StreamedContent, tarOfContents, tarOfStreamed } from './tar-of-contents.ts';

/** Where the objects of one backup go. */
interface Target {
  readonly backup: string;
  readonly codec: Codec;
  readonly cipher: ObjectCipher | undefined;
  readonly manifestChecksum: ManifestChecksum;
}

/** All that is known at the end. */
export interface Closing {
  readonly parts: SentParts;
  readonly control: { readonly content: Buffer; readonly object: StoredObject };
  readonly start: BackupStart;
  readonly stop: BackupStop;
}

export class ClosingObjects {
  readonly #store: ObjectStore;
  readonly #target: Target;

  constructor(store: ObjectStore, target: Target) {
    this.#store = store;
    this.#target = target;
  }

  async uploadControl(content: Buffer, signal: AbortSignal): Promise<StoredObject> {
    return this.#uploadTar(pgControlTarName, [tarOfContents({ [pgControlMember]: content })], signal);
  }

  /** Stores everything but pg_control; doing it again writes the same objects again. @returns the tars */
  async upload(closing: Closing, signal: AbortSignal): Promise<readonly StoredObject[]> {
    const { parts, control } = closing;
    const { backup } = this.#target;
    const [label, documents] = await allEnded([
      this.#uploadTar(backupLabelTarName, this.#labelTar(closing), signal),
      this.#uploadFileList(closing, signal),
    ]);
    const tars = [...parts.objects, control.object, label];
    const text = stringifyManifest(backup, [...tars, ...documents], parts.damage);
    await putDocument(this.#store, manifestKey(backup), { text, signal });
    return tars;
  }

  /** The manifest comes last, as it describes the labels too. */
  *#labelTar(closing: Closing): Generator<Buffer> {
    const contents = labelContents(closing.stop);
    yield* tarOfStreamed(contents, { [backupManifestMember]: this.#manifestDocument(closing) });
  }

  #manifestDocument({ parts, control, start, stop }: Closing): StreamedContent {
    const { manifestChecksum } = this.#target;
    const changedNs = BigInt(Date.parse(stop.finishTime)) * 1_000_000n;
    const contents = { [pgControlMember.slice(1)]: control.content, ...labelContents(stop) };
    const entries = Object.entries(contents).map(([path, content]): ManifestFile => {
      return { path, sizeBytes: content.length, changedNs, checksum: digestOf(content, manifestChecksum) };
    });
    const pieces = [...parts.manifest, new HeldText(entries.map(manifestEntry).join(',\n'))];
    const facts = { ...start, finishLsn: stop.finishLsn };
    return { sizeBytes: backupManifestBytes(facts, pieces), chunks: backupManifestDocument(facts, pieces) };
  }

  /** JSON documents are never compressed or encrypted. */
  async #uploadFileList({ parts, stop }: Closing, signal: AbortSignal): Promise<readonly StoredObject[]> {
    if (parts.fileList === undefined) return [];
    const { backup, codec } = this.#target;
    // pg_control is in no list of WAL-G's either: it is always extracted (bundle.go, UploadPgControl), as the labels are. The manifest has to be listed.
    const labelTar = withExtension(backupLabelTarName, codec.extension);
    const manifest = { name: backupManifestMember, changedNs: BigInt(Date.parse(stop.finishTime)) * 1_000_000n };
    const tars = { [labelTar]: [...Object.values(labelMembers), manifest.name] };
    const chunks = filesMetadataDocument(parts.fileList, { tars, files: [manifest] });
    return [await uploadObject(this.#store, filesMetadataKey(backup), { codec: none, cipher: undefined, chunks, signal })];
  }

  async #uploadTar(tarName: string, chunks: Iterable<Buffer>, signal: AbortSignal): Promise<StoredObject> {
    const { backup, codec, cipher } = this.#target;
    const key = `${tarPartitionsPrefix(backup)}${withExtension(tarName, codec.extension)}`;
    return uploadObject(this.#store, key, { codec, cipher, chunks, signal });
  }
}

function labelContents({ labelFile, tablespaceMap }: BackupStop): Readonly<Record<string, Buffer>> {
  return { [labelMembers.backupLabel]: Buffer.from(labelFile), [labelMembers.tablespaceMap]: Buffer.from(tablespaceMap) };
}
