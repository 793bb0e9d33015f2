import { describe, expect, it } from 'vitest';
import { unitMayWrite, withUnitAdvice } from './unit-paths.ts';

const shown = (paths: string, load = 'loaded', protect = 'strict') =>
  `ProtectSystem=${protect}\nReadWritePaths=${paths}\nLoadState=${load}\n`;

describe('the unit', () => {
  it.each([
    ['/var/lib/berth', '', true],
    ['/var/lib/berth/pool', '', true],
    ['/var/lib/berth2', '', false],
    ['/srv/berth', '', false],
    ['/srv/berth', '/srv/berth', true],
    ['/srv/berth', '-/data +/srv', true],
    ['/srv/berth', '/srv/berth2', false],
    ['/srv/berth', '/', true],
  ])('with the data directory %s and ReadWritePaths=%s: writable is %s', (dir, paths, expected) => {
    expect(unitMayWrite(shown(paths), dir)).toBe(expected);
  });

  it('that is not installed, or does not protect the system, forbids nothing', () => {
    expect(unitMayWrite('', '/srv')).toBe(true);
    expect(unitMayWrite(shown('', 'not-found', 'no'), '/srv')).toBe(true);
    expect(unitMayWrite(shown('', 'loaded', 'full'), '/srv')).toBe(true);
  });
});

describe('a directory that cannot be written to', () => {
  it('names ReadWritePaths where it is read-only, and nothing of it where something else is wrong', () => {
    expect(withUnitAdvice('/srv', 'EROFS: read-only file system, open')).toMatch(/ReadWritePaths=\/srv/);
    expect(withUnitAdvice('/srv', 'ENOSPC: no space left on device')).toBe('ENOSPC: no space left on device');
  });
});
