/** Proves what an archive holds: everything that its base backups need is there and, on request, is what it was written as. */
import { bySeverity, type Finding, type TimelineSummary, type VerificationReport } from '../domain/archive-findings.ts';
import type { BaseBackup } from '../domain/base-backup.ts';
import { isNeeded, walIntegrity, type WalIntegrity } from '../domain/wal-integrity.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { listBackupFolders } from './backup-folders.ts';
import { listBaseBackups } from './catalog.ts';
import { parseWalKey, sentinelKey, tarPartitionsPrefix, verificationKey } from './layout.ts';
import { type ArchiveState, readState, type VerifyArchiveOptions } from './verification/archive-state.ts';
import { checkBackupObjects, checkChain, missingObject } from './verification/backup-objects.ts';
import { readCheckpoint, storeVerification } from './verification/checkpoint.ts';
import { readEverything } from './verification/deep-reading.ts';
import { walFindings } from './verification/wal-findings.ts';
import { readSettledHoldings } from './wal-holdings.ts';

/**
 * Verifies an archive, and stores the whole report in it.
 * @throws WalkbackError when the store does not answer; what is wrong with the archive is in the report
 */
export async function verifyArchive(options: VerifyArchiveOptions): Promise<VerificationReport> {
  const { store, id, signal } = options;
  const left = await readCheckpoint(store, id, signal);
  if (left?.state === 'done') return left.report;
  const state = await readState(options);
  options.onProgress({ bytesDone: 0, note: `${state.listing.backups.length} base backups and their WAL are being listed` });
  const shallow = await shallowFindings(store, state, signal);
  const deep = options.deep ? await readEverything({ ...options, ...state, checkpoint: left }) : undefined;
  const found = [...shallow, ...(deep?.findings ?? state.damagedHistories)];
  const findings = bySeverity(await withoutRemoved(options, found));
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const report: VerificationReport = {
    cluster: options.cluster,
    deep: options.deep,
    isSound: errors === 0,
    startedAt: options.startedAt,
    finishedAt: new Date().toISOString(),
    backups: state.listing.backups.length,
    timelines: state.integrity.timelines.map(timelineSummary),
    objectsRead: deep?.objectsRead ?? 0,
    bytesRead: deep?.bytesRead ?? 0,
    errors,
    notes: findings.length - errors,
    findings,
    findingsLeftOut: 0,
    reportKey: verificationKey(id),
  };
  await storeVerification(store, id, { report, signal });
  return report;
}

async function shallowFindings(store: ObjectStore, state: ArchiveState, signal: AbortSignal): Promise<readonly Finding[]> {
  const { listing, backupsByName, integrity } = state;
  const unreadable = listing.damaged.map(({ name, reason }): Finding => ({
    kind: 'backup-damaged',
    severity: 'error',
    backup: name,
    key: sentinelKey(name),
    text: `${name} cannot be used: ${reason}`,
  }));
  const findings = [...unreadable, ...walFindings(integrity, state)];
  const damaged = new Set(listing.damaged.map(({ name }) => name));
  const seen = new Set<string>();
  for await (const folder of listBackupFolders(store, signal)) {
    seen.add(folder.backup);
    if (backupsByName.has(folder.backup)) findings.push(...(await checkBackupObjects(store, folder, signal)).findings);
    else if (!damaged.has(folder.backup)) findings.push(incompleteBackup(folder.backup, folder.objects.length));
  }
  for (const backup of listing.backups) {
    if (!seen.has(backup.name)) findings.push(missingObject(backup.name, tarPartitionsPrefix(backup.name), undefined));
    findings.push(...damagedPages(backup));
    findings.push(...(await checkChain(store, backup, { known: backupsByName, signal })));
  }
  return findings;
}

function damagedPages({ name, damagedBlockCount = 0 }: BaseBackup): readonly Finding[] {
  if (damagedBlockCount === 0) return [];
  const text = `${name} holds ${damagedBlockCount} pages that had a wrong checksum when it was taken; its manifest names them.`;
  return [{ kind: 'pages-damaged', severity: 'note', backup: name, text }];
}

function incompleteBackup(backup: string, objectCount: number): Finding {
  const text = `${backup} has ${objectCount} objects and no sentinel: a base backup that runs, or was interrupted.`;
  return { kind: 'backup-incomplete', severity: 'note', backup, text };
}

/** Retention may remove a backup, and WAL that only it needed, while they are read: what is not needed any more is no loss. */
async function withoutRemoved(options: VerifyArchiveOptions, findings: readonly Finding[]): Promise<readonly Finding[]> {
  const { store, openWal, cipher, signal } = options;
  if (!findings.some(({ severity }) => severity === 'error')) return findings;
  const [listing, { holdings }] = await Promise.all([
    listBaseBackups(store, { signal, cipher }),
    readSettledHoldings(openWal(), { settlesWithinMs: 0, isSettled: () => true, signal }),
  ]);
  const existing = new Set([...listing.backups, ...listing.damaged].map(({ name }) => name));
  const integrity = walIntegrity(listing.backups, holdings);
  return findings.filter(({ backup, key, kind, range }) => {
    if (backup !== undefined) return existing.has(backup) || kind === 'backup-incomplete';
    const wal = key === undefined ? undefined : parseWalKey(key)?.name;
    if (kind === 'object-missing' && wal !== undefined) return isNeeded(integrity, wal);
    return range === undefined || isNeeded(integrity, range.first) || isNeeded(integrity, range.last);
  });
}

function timelineSummary({ timeline, held, needed, holes }: WalIntegrity['timelines'][number]): TimelineSummary {
  const countOf = (ranges: readonly { readonly count: number }[]) => ranges.reduce((total, { count }) => total + count, 0);
  return { timeline, segmentsHeld: countOf(held), segmentsNeeded: countOf(needed), segmentsMissing: countOf(holes) };
}
