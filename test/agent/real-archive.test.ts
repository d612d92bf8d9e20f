/** The agent with the archive it has in production: WAL-G's layout in a directory. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createWalArchive } from '../../src/archive/wal-archive.ts';
import { createFileObjectStore } from '../../src/storage/file-object-store.ts';
import type { WalSegmentName } from '../../src/domain/wal-segment.ts';
import { segmentBytes, systemIdentifier, walSegment } from '../archive/support/wal.ts';
import { AgentFixture } from './agent-fixture.ts';

const name = '000000010000000000000001' as WalSegmentName;

describe('the agent and a real archive', () => {
  it('brings a segment back byte for byte, refuses a foreign one, and takes an unreadable store for no absence', async () => {
    await using fixture = await AgentFixture.create();
    const directory = join(fixture.directory, 'archive');
    await mkdir(directory);
    await using store = createFileObjectStore({ directory });
    const service = await fixture.start({ openArchive: () => createWalArchive(store, { compression: 'zstd', segmentBytes }) });
    const registration = { dataDirectory: fixture.dataDirectory, systemIdentifier, archiveUrl: store.url, segmentBytes };
    await service.registerCluster({ name: 'shop', ...registration });
    await service.registerRestore({
      restoreId: 'restore one',
      ...registration,
      view: { segments: [{ timeline: 1, first: name, last: name }], histories: [] },
    });
    const path = join(fixture.dataDirectory, 'pg_wal', name);

    await writeFile(path, Buffer.alloc(segmentBytes));
    const refused = await fixture.push(name);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain('WAL_REFUSED');

    const bytes = walSegment({ name });
    await writeFile(path, bytes);
    expect(await fixture.push(name)).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await fixture.push(name)).toMatchObject({ exitCode: 0, stderr: '' });

    expect(await fixture.fetch(name)).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await readFile(join(fixture.dataDirectory, 'pg_wal', 'RECOVERYXLOG'))).equals(bytes)).toBe(true);

    await rename(directory, `${directory}-unmounted`);
    const undecided = await fixture.fetch(name);
    expect(undecided.exitCode).toBe(255);
    await rm(`${directory}-unmounted`, { recursive: true });
  });
});
