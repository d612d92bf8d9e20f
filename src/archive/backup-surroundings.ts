/** What a base backup expects of the host that it is restored on, beside room for its files. */
import type { SourceRecord } from '../domain/source-record.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { readDocument, signalOption } from './documents/stored-document.ts';
import type { Tablespace } from './documents/tablespace-spec.ts';
import { sentinelKey } from './layout.ts';
import { parseSentinel } from './sentinel.ts';
import { readSourceRecord } from './source-records.ts';

/** What is known. */
interface BackupSurroundings {
  /** Undefined for backups of other tools, and of earlier releases. */
  readonly source: SourceRecord | undefined;
  readonly tablespaces: readonly Tablespace[];
}

/** Reads two small documents. @throws WalkbackError OBJECT_DAMAGED for the sentinel */
export async function readBackupSurroundings(store: ObjectStore, backup: string, signal?: AbortSignal): Promise<BackupSurroundings> {
  const [sentinel, source] = await Promise.all([
    readDocument(store, sentinelKey(backup), { parse: parseSentinel, ...signalOption(signal) }),
    readSourceRecord(store, backup, signal),
  ]);
  return { source, tablespaces: sentinel?.tablespaces?.tablespaces ?? [] };
}
