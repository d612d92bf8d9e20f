/** What a step's failure is called when it leaves a workflow. */
import { ActivityFailure, ApplicationFailure, type RetryState, TimeoutFailure, type TimeoutType } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { walkbackErrorOf } from '../../src/workflows/failures.ts';

function failed(cause: Error): ActivityFailure {
  return new ActivityFailure('activity failed', 'planRestore', '1', 'MAXIMUM_ATTEMPTS_REACHED' satisfies RetryState, 'worker', cause);
}

function timedOut(timeoutType: TimeoutType): ActivityFailure {
  return failed(new TimeoutFailure(`activity ${timeoutType} timeout`, undefined, timeoutType));
}

describe('walkbackErrorOf', () => {
  it.each<readonly [string, ActivityFailure, string | undefined, string]>([
    ['a step that no worker took', timedOut('SCHEDULE_TO_START'), undefined, 'NO_WORKER'],
    ['a step that no agent took', timedOut('SCHEDULE_TO_START'), 'db-1', 'NO_AGENT_ON_HOST'],
    ['a step whose worker ended in the middle', timedOut('HEARTBEAT'), undefined, 'NO_WORKER'],
    ['a step whose agent ended in the middle', timedOut('HEARTBEAT'), 'db-1', 'NO_WORKER'],
    ['a step that took too long', timedOut('START_TO_CLOSE'), undefined, 'INTERNAL'],
    ['a step that failed with an error of the catalogue', failed(ApplicationFailure.create({ type: 'NOT_FOUND' })), undefined, 'NOT_FOUND'],
    ['a step that failed otherwise', failed(ApplicationFailure.create({ type: 'TypeError' })), undefined, 'INTERNAL'],
  ])('%s', (_what, failure, host, code) => {
    expect(walkbackErrorOf(failure, host).code).toBe(code);
  });
});
