/** A process that takes one base backup of a server, as the agent does; killed by the test at any instant. Its argument is a JSON document. */
import { completeBaseBackup } from '../../../src/archive/base-backup-completion.ts';
import { uploadBaseBackup } from '../../../src/archive/base-backup-push.ts';
import { chooseParent } from '../../../src/archive/push/parent-backup.ts';
import { UnfinishedBackups } from '../../../src/archive/unfinished-backups.ts';
import { startBackupSession } from '../../../src/postgres/backup-session.ts';
import { createFileObjectStore } from '../../../src/storage/file-object-store.ts';
import { type Source, uploadOptionsOf } from '../base-backup/take-backup.ts';

/** What the child is told. */
export interface PushChildInput {
  readonly source: Source;
  readonly archive: string;
  readonly record: string;
  readonly isIncremental: boolean;
}

const input = JSON.parse(process.argv[2] ?? '{}') as PushChildInput;
const { source, archive, record, isIncremental } = input;
const { signal } = new AbortController();
const store = createFileObjectStore({ directory: archive });
const unfinished = new UnfinishedBackups(record);
await using session = await startBackupSession(source.connectOptions, { label: 'kills', fast: true });
await unfinished.sweep(store, signal);
const options = await uploadOptionsOf(source, store, session);
const choice = isIncremental
  ? await chooseParent(store, { start: options.start, maximumChain: 1000, signal })
  : { fullBecause: 'asked for' };
const isFull = 'fullBecause' in choice;
const start = isFull ? options.start : { ...options.start, name: choice.name };
await unfinished.begin(start.name);
const uploaded = await uploadBaseBackup({ ...options, partBytes: 1024 * 1024, start, ...(isFull ? {} : { parent: choice.parent }) });
const backup = await completeBaseBackup(store, uploaded);
await unfinished.complete(backup.name);
process.stdout.write(backup.name);
