import { tmpdir } from 'node:os';
import { DatabaseError } from 'pg';
import { describe, expect, it } from 'vitest';
import { roomFor } from '../../src/activities/room.ts';
import { WalkbackError } from '../../src/domain/errors.ts';

const dataDirectory = tmpdir();

function refusedStatement(sqlState: string): WalkbackError {
  const cause = Object.assign(new DatabaseError('could not extend file "base/5/16384"', 10, 'error'), { code: sqlState });
  return new WalkbackError('ROLE_SWAP_FAILED', 'a statement was refused', {
    cause: new WalkbackError('STATEMENT_FAILED', cause.message, { cause }),
  });
}

const failedStart = (line: string) => new WalkbackError('POSTGRES_DID_NOT_START', 'it ended', { facts: { log: ['LOG:  starting', line] } });

/** How often the work is done until it is given up: waiting is stopped at the first word of it. */
async function outcomeOf(failure: Error): Promise<{ readonly notes: readonly (string | undefined)[]; readonly error: unknown }> {
  const stopped = new AbortController();
  const notes: (string | undefined)[] = [];
  const report = ({ note }: { readonly note?: string }) => {
    notes.push(note);
    stopped.abort(new Error('nobody waits any more'));
  };
  const error: unknown = await roomFor({ dataDirectory }, { signal: stopped.signal, report }, () => Promise.reject(failure)).catch(
    (reason: unknown) => reason,
  );
  return { notes, error };
}

describe('roomFor', () => {
  it.each([
    ['a statement for which the server has no room', refusedStatement('53100')],
    ['a server that does not start for want of room', failedStart('FATAL:  could not write lock file: No space left on device')],
    [
      'a file of ours',
      new WalkbackError('INTERNAL', 'not written', { cause: Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' }) }),
    ],
  ])('says that it waits after %s', async (_what, failure) => {
    const { notes } = await outcomeOf(failure);
    expect(notes).toEqual([expect.stringMatching(/^The disk is full, \d+ bytes are free: waiting for room\.$/)]);
  });

  it.each([
    ['a statement that is refused', refusedStatement('42501')],
    ['a server that does not start', failedStart('FATAL:  could not load library')],
  ])('waits for nothing after %s', async (_what, failure) => {
    expect(await outcomeOf(failure)).toEqual({ notes: [], error: failure });
  });
});
