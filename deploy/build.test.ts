/** How imports of our own packages become files, by the exports of each workspace. */
import { describe, expect, it } from 'vitest';
import { resolveWorkspace } from './build.js';

const exportsOf = (name: string): Record<string, string> =>
  ({
    shared: { './*': './src/*' },
    proto: { './agent': './agent.ts' },
    controller: { './*': './src/*', './cli/*': './cli/*' },
  })[name] ?? {};

describe('an import of one of our packages', () => {
  it('goes to the file that the workspace exports', () => {
    expect(resolveWorkspace('@berth/shared/log/log.ts', exportsOf)).toBe('shared/src/log/log.ts');
    expect(resolveWorkspace('@berth/proto/agent', exportsOf)).toBe('proto/agent.ts');
  });

  it('follows the most specific pattern', () => {
    expect(resolveWorkspace('@berth/controller/cli/main.ts', exportsOf)).toBe('controller/cli/main.ts');
    expect(resolveWorkspace('@berth/controller/main.ts', exportsOf)).toBe('controller/src/main.ts');
  });

  it('is refused when nothing exports it', () => {
    expect(resolveWorkspace('@berth/proto/gen/x.ts', exportsOf)).toBeUndefined();
    expect(resolveWorkspace('@berth/shared', exportsOf)).toBeUndefined();
  });
});
