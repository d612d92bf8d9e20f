/** What pushing ahead does at moments that the agent's own tests meet by chance only. */
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { fileIdentity } from '../../src/agent/push/file-identity.ts';
import { PushAhead } from '../../src/agent/push/push-ahead.ts';
import { SharedRuns } from '../../src/agent/shared-runs.ts';
import { AgentFixture, segment } from './agent-fixture.ts';

/** Runs of which one, on demand, ends just before they are asked about. */
class EndingRuns extends SharedRuns<void> {
  end: () => void = () => undefined;

  override has(key: string): boolean {
    this.end();
    return super.has(key);
  }
}

it('does not archive again what was archived on demand while its file was looked at', async () => {
  await using fixture = await AgentFixture.create('push-ahead');
  await fixture.writeReady(segment(1));
  await fixture.writeReady(segment(2));
  const { dataDirectory } = fixture;
  const pathOf = (name: string) => join(dataDirectory, 'pg_wal', name);
  const identity = (await fileIdentity(pathOf(segment(1)))) ?? '';
  const pushes: string[] = [];
  const runs = new EndingRuns();
  const closing = new AbortController();
  const ahead = new PushAhead({
    dataDirectory,
    runs,
    push: async (name, path) => {
      pushes.push(name);
      return (await fileIdentity(path)) ?? '';
    },
    forget: async () => undefined,
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    signal: closing.signal,
  });
  runs.end = () => ahead.note(segment(1), identity);
  await ahead.begin();
  await vi.waitFor(() => expect(ahead.isArchived(segment(1), identity)).toBe(true));
  await vi.waitFor(() => expect(pushes).toContain(segment(2)));
  await runs.settle();
  await ahead.close();
  expect(pushes).toEqual([segment(2)]);
});
