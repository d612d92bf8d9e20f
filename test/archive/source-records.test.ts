import { expect, it } from 'vitest';
import { readBackupSurroundings } from '../../src/archive/backup-surroundings.ts';
import { sweepOrphans } from '../../src/archive/base-backup-completion.ts';
import { sourceRecordKey } from '../../src/archive/layout.ts';
import { readSourceRecord, storeSourceRecord } from '../../src/archive/source-records.ts';
import { sourceRecord } from '../domain/support/source-record.ts';
import { keysOf, storeIn, temporaryDirectory } from './support/temporary.ts';

const backup = 'base_000000010000000000000002';

it('the record of a source is read as it was stored, and goes when retention sweeps its backup', async () => {
  await using directory = await temporaryDirectory();
  const { store } = await storeIn(directory.path);
  expect(await readSourceRecord(store, backup)).toBeUndefined();
  await storeSourceRecord(store, backup, { record: sourceRecord });
  expect(await readSourceRecord(store, backup)).toEqual(sourceRecord);
  expect(await readBackupSurroundings(store, backup)).toEqual({ source: sourceRecord, tablespaces: [] });
  await sweepOrphans(store, backup);
  expect(await keysOf(store, '')).toEqual([]);
});

it('a record that is not what was stored counts for nothing, because no restore depends on it', async () => {
  await using directory = await temporaryDirectory();
  const { store } = await storeIn(directory.path);
  await storeSourceRecord(store, backup, { record: sourceRecord });
  const stored = await store.get(sourceRecordKey(backup));
  const text = Buffer.concat((await stored?.body.toArray()) as Buffer[]).toString();
  await store.put(sourceRecordKey(backup), Buffer.from(text.replace('"x64"', '"arm"')));
  expect(await readSourceRecord(store, backup)).toBeUndefined();
});
