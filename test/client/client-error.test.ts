/** What a caller gets to see of the errors of Temporal's client. */
import { describe, expect, it } from 'vitest';
import { clientError } from '../../src/client/handles.ts';

/** As the SDK wraps what gRPC said of a query. */
function failedQuery(said: string): Error {
  return new Error('Failed to query Workflow', { cause: new Error(said) });
}

describe('clientError', () => {
  // Seen of a dev server on whose task queue nobody polls: a call in ten that reaches its deadline ends in the second way.
  it.each([
    '4 DEADLINE_EXCEEDED: Deadline exceeded after 14.999s,LB pick: 0.001s,remote_addr=127.0.0.1:7233',
    '1 CANCELLED: Call cancelled',
    '4 DEADLINE_EXCEEDED: query timed out before a worker could process it',
  ])('says NO_WORKER when nobody has answered in time: %s', (said) => {
    expect(clientError(failedQuery(said), 'restore/a')).toMatchObject({
      code: 'NO_WORKER',
      message: 'No walkback worker answers for "restore/a".',
    });
  });

  it.each([
    '14 UNAVAILABLE: No connection established',
    '1 CANCELLED: UNAVAILABLE: the call could not be made (Channel has been shut down)',
  ])('says TEMPORAL_UNREACHABLE when there is no connection: %s', (said) => {
    expect(clientError(failedQuery(said), 'restore/a').code).toBe('TEMPORAL_UNREACHABLE');
  });

  it('says INTERNAL of what it does not know', () => {
    expect(clientError(failedQuery('13 INTERNAL: no'), 'restore/a')).toMatchObject({ code: 'INTERNAL' });
  });
});
