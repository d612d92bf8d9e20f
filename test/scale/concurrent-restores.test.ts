/** As many as fit into seconds; `npm run scale` does a thousand. */
import { expect, inject, it } from 'vitest';
import { runConcurrentRestores } from './concurrent-restores.ts';

const restores = 40;
const timeoutMs = 120_000;

it(
  `${restores} restores at once, all in recovery at the same time, come to their end through one worker with under 200 events of history each`,
  async () => {
    const { address, namespace, workflowBundlePath } = inject('temporal');
    const workflows = { workflowBundle: { codePath: workflowBundlePath } };
    const result = await runConcurrentRestores({ address, namespace, workflows }, restores);
    expect(result.historyEventsMaximum).toBeLessThan(200);
    expect(result.historyBytesMaximum).toBeLessThan(256 * 1024);
  },
  timeoutMs,
);
