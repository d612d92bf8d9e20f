/**
 * The files that come last: backup_label, tablespace_map and pg_control, of the newest backup only. In archives of ours and of WAL-G from 3.0.5 on
 * they have tars of their own. Before, and in remote backups and WAL-E's, they lie in parts: then they wait in the state directory, and so does every
 * pg_control until its tar is proven, because without it nothing can be started, and a directory half restored must not be.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf } from '../../domain/errors.ts';
import { makeDirectoryDurably, writeFileDurably } from '../../files/durable-file.ts';
import { isAbsent } from '../../files/system-error.ts';
import { startOfLabel } from '../documents/backup-history.ts';
import { damaged } from '../documents/stored-document.ts';
import { backupManifestMember, labelMembers, pgControlMember, startSegmentOfBackupName, tarPartitionsPrefix } from '../layout.ts';
import type { BackupLevel } from './backup-chain.ts';
import { tablespaceMap } from './member-path.ts';
import { describeAnew } from './restored-manifest.ts';
import type { StoredTar } from './stored-tars.ts';

const controlMember = pgControlMember.slice(1);
const labels: readonly string[] = Object.values(labelMembers);

export interface LastMembersOptions {
  /** The new data directory. */
  readonly into: string;
  readonly stateDirectory: string;
  readonly newest: BackupLevel;
}

export class LastMembers {
  readonly #options: LastMembersOptions;

  constructor(options: LastMembersOptions) {
    this.#options = options;
  }

  /** Where these members of a tar of the newest backup go; a name that is missing stays where it is. */
  placesIn(tar: StoredTar): Readonly<Partial<Record<string, string>>> {
    const { into, newest } = this.#options;
    const { labels: labelTar, pgControl } = newest.tars;
    const final = (names: readonly string[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, join(into, name)]));
    if (tar === labelTar) return final([...labels, backupManifestMember]);
    if (tar === pgControl) return { [controlMember]: this.#waitingPath(tar, controlMember) };
    const waiting = [...(labelTar === undefined ? labels : []), ...(pgControl === undefined ? [controlMember] : [])];
    // A manifest in a part lay in the source's data directory; ours, in the tar of the labels, comes later and takes its place.
    return { ...final([backupManifestMember]), ...Object.fromEntries(waiting.map((name) => [name, this.#waitingPath(tar, name)])) };
  }

  /** Puts the labels in place that lay in parts, and lets tablespace_map name the new places. */
  async placeLabels(): Promise<void> {
    const { into, newest } = this.#options;
    if (newest.tars.labels === undefined) for (const name of labels) await this.#place(name);
    const { tablespaces } = newest.sentinel;
    if (tablespaces === undefined) return;
    const content = Buffer.from(tablespaceMap(into, tablespaces));
    await writeFileDurably(join(into, labelMembers.tablespaceMap), content);
    await describeAnew(join(into, backupManifestMember), { path: labelMembers.tablespaceMap, content });
  }

  /** Puts pg_control in place, which is proven by now. @throws WalkbackError OBJECT_DAMAGED when no tar brought it, or the parts no backup_label of this backup */
  async placePgControl(): Promise<void> {
    const { into, newest } = this.#options;
    const { pgControl } = newest.tars;
    if (pgControl !== undefined) {
      if (!(await this.#place(controlMember, [pgControl]))) throw damaged(pgControl.info.key, `it does not hold ${controlMember}`);
      return;
    }
    const prefix = tarPartitionsPrefix(newest.backup);
    const label = await readIfThere(join(into, labelMembers.backupLabel));
    if (label === undefined) throw damaged(prefix, `none of its tars holds ${labelMembers.backupLabel}`);
    assertLabelOf(newest.backup, label.toString('utf8'));
    if (!(await this.#place(controlMember))) throw damaged(prefix, `none of its tars holds ${controlMember}`);
  }

  /** The one of the last part counts: pg_backup_stop made it, and a file of that name that lay in the data directory is older. */
  async #place(name: string, tars = this.#options.newest.tars.parts): Promise<boolean> {
    const { into } = this.#options;
    const byNumber = tars.toSorted((one, other) => numberOf(other) - numberOf(one));
    for (const tar of byNumber) {
      const content = await readIfThere(this.#waitingPath(tar, name));
      if (content === undefined) continue;
      // WAL-E's parts hold the directory too, but not those of a backup that somebody put together by hand.
      await makeDirectoryDurably(dirname(join(into, name)));
      await writeFileDurably(join(into, name), content);
      return true;
    }
    return false;
  }

  #waitingPath(tar: StoredTar, name: string): string {
    return join(this.#options.stateDirectory, 'last', tar.fileName, name);
  }
}

function numberOf({ fileName }: StoredTar): number {
  return Number(/\d+/.exec(fileName)?.[0] ?? 0);
}

function assertLabelOf(backup: string, text: string): void {
  const prefix = tarPartitionsPrefix(backup);
  let segment: string;
  try {
    ({ segment } = startOfLabel(text));
  } catch (error) {
    throw damaged(prefix, `its backup_label cannot be read: ${messageOf(error)}`, error);
  }
  if (segment === startSegmentOfBackupName(backup)) return;
  throw damaged(prefix, `its backup_label is of a backup that starts in ${segment}`);
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
