/** What vitest does once around the integration tests (`globalSetup`). */
import type { TestProject } from 'vitest/node';
import { searchAttributeTypes } from '../../src/domain/search-attributes.ts';
import { watchForLeaks } from './leaks.ts';
import { startSuiteTemporal } from './temporal.ts';

/** Starts what the suite shares; the function it returns ends it and fails the run when anything is left. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const leakGuard = watchForLeaks();
  const temporal = await startSuiteTemporal(searchAttributeTypes);
  project.provide('temporal', temporal.shared);
  return async () => {
    await temporal[Symbol.asyncDispose]();
    await leakGuard.finish();
  };
}
