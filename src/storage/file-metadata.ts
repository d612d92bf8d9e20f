/** User metadata of objects in a directory: a file beside the objects, in a folder that WAL-G never lists. */
import type { BigIntStats } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { placeFile, removeFile } from './durable-files.ts';
import { isAbsence } from './file-errors.ts';

/** Where the metadata lies, relative to the store's root. */
export const metadataFolder = 'walkback_001/metadata';

/** The content of one metadata file. Size and time say which content it belongs to, should somebody else replace the object. */
interface MetadataFile {
  readonly sizeBytes: number;
  readonly modifiedNs: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What a metadata file is written for. */
export interface DescribedFile {
  readonly root: string;
  readonly key: string;
  readonly stats: BigIntStats;
}

/** @returns {} when the object has none, or when what is there was written for other content */
export async function readFileMetadata({ root, key, stats }: DescribedFile): Promise<Readonly<Record<string, string>>> {
  try {
    const parsed: unknown = JSON.parse(await readFile(metadataPath(root, key), 'utf8'));
    if (!isMetadataFile(parsed)) return {};
    return BigInt(parsed.sizeBytes) === stats.size && parsed.modifiedNs === String(stats.mtimeNs) ? parsed.metadata : {};
  } catch (error) {
    // A half-written file cannot be there, but a damaged one may; the object itself is not the worse for it.
    if (isAbsence(error) || error instanceof SyntaxError) return {};
    throw error;
  }
}

/** Writes the metadata of an object durably, or removes what an earlier object under the key had. */
export async function writeFileMetadata(
  described: DescribedFile,
  metadata: Readonly<Record<string, string>> | undefined,
  temporary: string,
): Promise<void> {
  const { root, key, stats } = described;
  if (metadata === undefined || Object.keys(metadata).length === 0) return removeFileMetadata(root, key);
  const content: MetadataFile = { sizeBytes: Number(stats.size), modifiedNs: String(stats.mtimeNs), metadata };
  const handle = await open(temporary, 'wx', 0o644);
  try {
    await handle.writeFile(JSON.stringify(content));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await placeFile(temporary, metadataPath(root, key), { root, exclusive: false });
}

/** Removes the metadata of an object that is gone. */
export async function removeFileMetadata(root: string, key: string): Promise<void> {
  await removeFile(metadataPath(root, key), root);
}

function metadataPath(root: string, key: string): string {
  return join(root, metadataFolder, `${key}.json`);
}

function isMetadataFile(value: unknown): value is MetadataFile {
  if (typeof value !== 'object' || value === null) return false;
  const file = value as Partial<Record<keyof MetadataFile, unknown>>;
  return Number.isSafeInteger(file.sizeBytes) && typeof file.modifiedNs === 'string' && typeof file.metadata === 'object';
}
