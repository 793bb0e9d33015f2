import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findRoot } from '../setup/root.js';
import { launchOf } from './launch.ts';

describe('launchOf', () => {
  it('tells environment and flags apart', () => {
    expect(launchOf('#!/usr/bin/env -S A=1 B_=x node --c=2 --d\ncode')).toEqual({
      environment: ['A=1', 'B_=x'],
      flags: ['--c=2', '--d'],
    });
    expect(launchOf('#!/usr/bin/env -S node')).toEqual({ environment: [], flags: [] });
  });

  it('refuses what would start otherwise from a package', () => {
    for (const line of [
      '',
      '#!/usr/bin/env node',
      '#!/usr/bin/env -S A=1 node --b x',
      `#!/usr/bin/env -S node --${'a'.repeat(250)}`,
    ])
      expect(() => launchOf(line), line).toThrow(/the first line of a program/);
  });

  it('finds that the agent keeps its memory small', () => {
    const { environment, flags } = launchOf(readFileSync(join(findRoot(), 'agent/bin/berth-agent.js'), 'utf8'));
    expect(environment).toContain('MALLOC_MMAP_THRESHOLD_=16384');
    expect(flags).toContain('--max-semi-space-size=1');
  });
});
