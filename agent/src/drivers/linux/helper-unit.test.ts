import { describe, expect, it } from 'vitest';
import { helperUnitArgs, type HelperUnit } from './helper-unit.ts';

const UNIT: HelperUnit = {
  name: 'img-0123',
  dataDir: '/srv/berth',
  logFile: '/srv/berth/run/img-0123/log',
  env: { BERTH_HELPER: '/srv/berth/run/img-0123' },
  confined: true,
};

describe('the unit of a helper', () => {
  it('writes to the data directory only, and has no more capabilities than it takes to give all away', () => {
    const args = helperUnitArgs(UNIT, ['qemu-nbd', '-r']);
    expect(args).toEqual(
      expect.arrayContaining([
        'ProtectSystem=strict',
        'ReadWritePaths="/srv/berth"',
        'CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_KILL',
        'NoNewPrivileges=yes',
        'RestrictAddressFamilies=AF_UNIX',
        '--setenv=BERTH_HELPER=/srv/berth/run/img-0123',
      ]),
    );
    expect(args.slice(-3)).toEqual(['--', 'qemu-nbd', '-r']);
  });

  it('has another name for another data directory', () => {
    const nameOf = (dataDir: string) => helperUnitArgs({ ...UNIT, dataDir }, []).find((a) => a.startsWith('--unit='));
    expect(nameOf('/srv/berth')).toMatch(/^--unit=berth-[0-9a-f]{6}-img-0123$/);
    expect(nameOf('/srv/other')).not.toBe(nameOf('/srv/berth'));
  });

  it('of a helper that reads nothing of a stranger has no sandbox', () => {
    expect(helperUnitArgs({ ...UNIT, confined: false }, []).join(' ')).not.toContain('Protect');
  });
});
