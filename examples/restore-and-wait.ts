/**
 * A platform's "roll back my database" button: another service starts a restore, tells its user how far it is, and hands over the report.
 *
 *   node examples/restore-and-wait.ts CLUSTER HOST INSTANT NAME DATA_DIRECTORY PORT
 *
 * It speaks to Temporal only (TEMPORAL_ADDRESS and its kin, or temporal.toml); a `walkback worker` and the agent of the host do the work.
 */
import { setTimeout as delay } from 'node:timers/promises';
// A program outside of this repository imports from 'walkback/client'.
import { createWalkbackClient, parseInstant, renderLandingReport, type RestoreHandle, WalkbackError } from '../src/client/index.ts';

const lookIntervalMs = 500;

/** Tells each phase once, until the signal. */
async function tellPhases(handle: RestoreHandle, signal: AbortSignal): Promise<void> {
  let told = '';
  while (!signal.aborted) {
    try {
      const { phase, summary, activity } = await handle.progress();
      if (phase !== told)
        console.error(`${phase}: ${summary}${activity?.bytesTotal === undefined ? '' : ` (${activity.bytesTotal} bytes)`}`);
      told = phase;
    } catch (error) {
      // Progress is a courtesy: a worker that restarts cannot tell it for a while, and the restore goes on all the same.
      if (!(error instanceof WalkbackError)) throw error;
    }
    await delay(lookIntervalMs, undefined, { signal }).catch(() => undefined);
  }
}

const [cluster = '', host = '', instant = '', name = '', dataDirectory = '', port = ''] = process.argv.slice(2);
try {
  await using client = await createWalkbackClient();
  const handle = await client.startRestore({
    cluster,
    host,
    name,
    dataDirectory,
    port: Number(port),
    target: { kind: 'time', time: parseInstant(instant) },
  });
  // To be kept by the service: with it any later process finds the restore again, by client.getRestore(id).
  console.error(`started ${handle.workflowId}`);
  const ended = new AbortController();
  const telling = tellPhases(handle, ended.signal);
  const report = await handle.result().finally(() => ended.abort());
  await telling;
  console.log(renderLandingReport(report));
} catch (error) {
  if (!(error instanceof WalkbackError)) throw error;
  // The code is stable, and docs/errors.md says what each means.
  console.error(`${error.code}: ${error.message} ${error.hint}`);
  process.exitCode = error.exitCode;
}
