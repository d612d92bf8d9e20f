import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    pool: 'forks',
    projects: [
      {
        extends: true,
        // Seconds, not minutes: what needs a server of PostgreSQL or Temporal is an integration test.
        test: {
          name: 'unit',
          include: [
            'test/{domain,storage,archive,postgres,agent,activities,config,client,cli,processes,workflows,bench}/**/*.test.ts',
            'test/tidy.test.ts',
          ],
          exclude: ['test/postgres/server/**'],
          testTimeout: 60_000,
          // Vitest leaves a processor to itself: on two cores it would run one file at a time.
          maxWorkers: 2,
          // Vitest runs projects with other numbers of workers only one after the other.
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/{conformance,integration,replay,chaos,scale,postgres/server}/**/*.test.ts'],
          globalSetup: ['test/harness/global-setup.ts'],
          // A machine that is shared may take four times as long as it did when nobody else had it.
          testTimeout: 240_000,
          hookTimeout: 240_000,
          // Most of an integration test is waiting: for servers to start, for replay, for a workflow's next step. On two cores three go on at a time.
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
