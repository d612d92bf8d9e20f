/** What vitest does once around the integration tests (`globalSetup`). */
import type { TestProject } from 'vitest/node';
import { searchAttributeTypes } from '../../src/domain/search-attributes.ts';
import { watchForLeaks } from './leaks.ts';
import { startSuiteTemporal } from './temporal.ts';

/** Workers that tests start as processes take the suite's bundle, instead of seconds to make their own (src/processes/worker.ts). */
const bundleVariable = 'WALKBACK_WORKFLOW_BUNDLE';

/** Starts what the suite shares; the function it returns ends it and fails the run when anything is left. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const leakGuard = watchForLeaks();
  const temporal = await startSuiteTemporal(searchAttributeTypes);
  project.provide('temporal', temporal.shared);
  process.env[bundleVariable] = temporal.shared.workflowBundlePath;
  return async () => {
    delete process.env[bundleVariable];
    await temporal[Symbol.asyncDispose]();
    await leakGuard.finish();
  };
}
