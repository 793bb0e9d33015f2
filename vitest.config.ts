/** The test projects: unit (beside the code), integration (real processes, simulated drivers), sim, lab (real hosts), guest (a real system). */
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/harness/sequence.ts';

const common = {
  environment: 'node' as const,
  restoreMocks: true,
  setupFiles: ['test/harness/setup.ts'],
  expect: { poll: { timeout: 15_000 } }, // a second, which is the default, is nothing on a busy machine
};

export default defineConfig({
  test: {
    reporters: ['default'],
    maxWorkers: 3, // the tests wait more than they reckon: on 2 cores three files at once take half the time of one
    minWorkers: 1,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          ...common,
          name: 'unit',
          include: ['{proto,shared,agent,controller,deploy}/**/*.test.ts', 'test/harness/**/*.test.ts'],
          exclude: ['**/node_modules/**', '**/dist/**'],
          testTimeout: 20_000,
        },
      },
      { test: { ...common, name: 'sim', include: ['test/sim/**/*.test.ts'], testTimeout: 120_000 } },
      {
        test: {
          ...common,
          name: 'integration',
          include: ['test/{integration,upgrade}/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          ...common,
          name: 'lab',
          include: ['test/lab/**/*.test.ts'],
          testTimeout: 240_000,
          hookTimeout: 600_000,
        },
      },
      {
        // on a machine of its own under emulation: `npm run test:guest`, not part of `npm test`
        test: { ...common, name: 'guest', include: ['test/guest/**/*.test.ts'], testTimeout: 3_600_000 },
      },
    ],
  },
});
