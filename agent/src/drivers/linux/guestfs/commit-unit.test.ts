import { describe, expect, it } from 'vitest';
import { commitUnitArgs, commitUnitName } from './commit-unit.ts';

const UNIT = {
  ...{ volumeId: 'volume-1', dataDir: '/srv/berth', user: 'nobody', fileBytes: 4096 },
  ...{ reads: ['/srv/b:a"se'], writes: ['/srv/pool/volume-1.qcow2', '/srv/berth/customize/volume-1/commit.qcow2'] },
};

describe('the unit that puts changes into a volume in a pool', () => {
  it('is nobody’s, sees nothing but its files, and may do nothing to others', () => {
    const args = commitUnitArgs(UNIT, ['qemu-img', 'commit']);
    expect(args).toEqual(
      expect.arrayContaining([
        ...['User=nobody', 'TemporaryFileSystem=/:ro', 'PrivateNetwork=yes', 'NoNewPrivileges=yes'],
        ...['CapabilityBoundingSet=CAP_DAC_OVERRIDE', 'RestrictNamespaces=yes', 'LimitFSIZE=4096'],
      ]),
    );
    expect(args.filter((a) => a.startsWith('BindPaths='))).toEqual(UNIT.writes.map((path) => `BindPaths="${path}"`));
    expect(args).toContain('BindReadOnlyPaths="/srv/b\\:a\\"se"');
    // the second one takes away from the first
    const filters = args.filter((a) => a.startsWith('SystemCallFilter='));
    expect(filters).toEqual([
      'SystemCallFilter=@system-service',
      expect.stringMatching(/=~kill tkill .*process_vm_writev$/),
    ]);
    expect(args.slice(-3)).toEqual(['--', 'qemu-img', 'commit']);
  });

  it('has one name for each volume of a data directory, so that there are no two at work', () => {
    expect(commitUnitName(UNIT)).toMatch(/^berth-[0-9a-f]{6}-commit-volume-1$/);
    expect(commitUnitName({ ...UNIT, dataDir: '/srv/other' })).not.toBe(commitUnitName(UNIT));
  });
});
