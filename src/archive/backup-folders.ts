/** The folders of the base backups, as one listing goes through them. */
import { WalkbackError } from '../domain/errors.ts';
import type { ObjectInfo, ObjectStore } from '../storage/object-store.ts';
import { signalOption } from './documents/stored-document.ts';
import { backupOfFolderKey, baseBackupsPrefix } from './layout.ts';

/** What lies in the folder of one backup, whether it has a sentinel or not. */
export interface BackupFolder {
  readonly backup: string;
  readonly objects: readonly ObjectInfo[];
}

/** Parts of 128 MiB each: over 100 TB. */
const objectsMaximum = 1_000_000;

/** Folder by folder, in the order of the names: no more than one is held in memory. */
export async function* listBackupFolders(store: ObjectStore, signal: AbortSignal | undefined): AsyncGenerator<BackupFolder> {
  let folder: { readonly backup: string; readonly objects: ObjectInfo[] } | undefined;
  for await (const info of store.list(baseBackupsPrefix, signalOption(signal))) {
    const backup = backupOfFolderKey(info.key);
    if (backup === undefined) continue;
    if (folder !== undefined && folder.backup !== backup) {
      yield folder;
      folder = undefined;
    }
    folder ??= { backup, objects: [] };
    folder.objects.push(info);
    if (folder.objects.length > objectsMaximum)
      throw new WalkbackError('ARCHIVE_FORMAT_UNSUPPORTED', `${backup} has more than ${objectsMaximum} objects.`);
  }
  if (folder !== undefined) yield folder;
}
