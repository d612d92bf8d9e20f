/** Keeps backup_manifest true where a restore writes a file anew. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { writeFileDurably } from '../../files/durable-file.ts';
import { isAbsent } from '../../files/system-error.ts';
import { manifestEntry } from '../documents/backup-manifest.ts';
import { digestOf } from '../push/file-digest.ts';

const checksumLine = '"Manifest-Checksum": "';

/**
 * Describes a small file as it is now, in the manifest at the path. A manifest that does not name the file, as in backups that WAL-G wrote, is left as
 * it is; so is one that is not there.
 * @param file its path in the manifest, and its new content
 */
export async function describeAnew(manifestPath: string, file: { readonly path: string; readonly content: Buffer }): Promise<void> {
  const manifest = await readIfPresent(manifestPath);
  const entryStart = manifest?.indexOf(`\n{ "Path": ${JSON.stringify(file.path)}, `) ?? -1;
  if (manifest === undefined || entryStart < 0) return;
  const start = entryStart + 1;
  const end = manifest.indexOf(' }', start) + ' }'.length;
  const isSha256 = manifest.subarray(start, end).includes('"SHA256"');
  const entry = manifestEntry({
    path: file.path,
    sizeBytes: file.content.length,
    changedNs: BigInt(Date.now()) * 1_000_000n,
    checksum: digestOf(file.content, isSha256 ? 'sha256' : 'crc32c'),
  });
  const before = [manifest.subarray(0, start), Buffer.from(entry), manifest.subarray(end, manifest.lastIndexOf(checksumLine))];
  const hash = createHash('sha256');
  for (const piece of before) hash.update(piece);
  await writeFileDurably(manifestPath, Buffer.concat([...before, Buffer.from(`${checksumLine}${hash.digest('hex')}"}\n`)]));
}

async function readIfPresent(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
