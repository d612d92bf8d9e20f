/** `npm run scale -- --restores 1000`: prints what so many restores at once take, and fails when a history has 200 events. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Runtime, DefaultLogger } from '@temporalio/worker';
import { startTemporalDevServer } from '../../src/demo/local-services/temporal-server.ts';
import { searchAttributeTypes } from '../../src/domain/search-attributes.ts';
import { runConcurrentRestores } from './concurrent-restores.ts';

const eventsMaximum = 200;
const { values } = parseArgs({ options: { restores: { type: 'string', default: '1000' } } });
Runtime.install({ logger: new DefaultLogger('WARN') });
await using server = await startTemporalDevServer({ searchAttributes: searchAttributeTypes, uiPort: false });
const { address, namespace } = server;
const workflowsPath = fileURLToPath(new URL('../../src/workflows/index.ts', import.meta.url));
const result = await runConcurrentRestores(
  { address, namespace, workflows: { workflowsPath } },
  Number(values.restores),
  (count, seconds) => process.stderr.write(`${count} in recovery after ${seconds.toFixed(0)} s\n`),
);
const { restores, seconds, historyEventsMaximum, historyBytesMaximum } = result;
process.stdout.write(
  `${restores} restores at once with simulated hosts, through one worker and one dev server: ${seconds.toFixed(1)} s, at most ${historyEventsMaximum} events and ${Math.round(historyBytesMaximum / 1024)} KiB of history each\n`,
);
if (historyEventsMaximum >= eventsMaximum) process.exitCode = 1;
