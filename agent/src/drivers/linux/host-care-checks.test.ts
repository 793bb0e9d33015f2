import { describe, expect, it } from 'vitest';
import { judgeCare, type CareSeen } from './host-care-checks.ts';

const GIB = 2 ** 30;
const GOOD: CareSeen = {
  uefi: true,
  swtpm: true,
  swap: { totalBytes: 8 * GIB, usedBytes: 2 ** 20 },
  confined: 'selinux',
  ksm: { on: true, savedBytes: 3 * GIB },
  hugePages: [
    { sizeBytes: 2 * 2 ** 20, total: 512, free: 100 },
    { sizeBytes: GIB, total: 0, free: 0 },
  ],
  transparentHugePages: 'madvise',
};
const detail = (seen: CareSeen, name: string) => judgeCare(seen).find((c) => c.name === name)?.detail;

describe('the checks of what makes VMs slow or less safe', () => {
  it('all pass where all is there, and say how it is', () => {
    expect(judgeCare(GOOD).map((c) => `${c.ok ? '✔' : '!'} ${c.name}: ${c.detail}`)).toEqual([
      '✔ uefi: OVMF is installed',
      '✔ tpm: swtpm is installed',
      '✔ swap: 1 MiB of 8 GiB used',
      '✔ confinement: SELinux is enforcing: libvirt confines each QEMU with it',
      '✔ ksm: on, saves 3 GiB',
      '✔ hugepages: 512 of 2 MiB (1 GiB), 100 free; transparent ones: madvise',
    ]);
  });

  it('name the package for what is missing, and keep no VM from running', () => {
    const bad: CareSeen = {
      uefi: false,
      swtpm: false,
      swap: { totalBytes: 8 * GIB, usedBytes: 2 * GIB },
      confined: 'none',
      ksm: undefined,
      hugePages: [],
      transparentHugePages: undefined,
    };
    const all = judgeCare(bad);
    expect(all.filter((c) => !c.ok).map((c) => c.name)).toEqual(['uefi', 'tpm', 'swap', 'confinement']);
    expect(all.some((c) => c.fatal)).toBe(false);
    expect(detail(bad, 'uefi')).toMatch(/VMs with UEFI cannot run here: apt-get install ovmf$/);
    expect(detail(bad, 'tpm')).toMatch(/apt-get install swtpm swtpm-tools$/);
    expect(detail(bad, 'swap')).toMatch(/^2 GiB of 8 GiB used: guests .* are slow/);
    expect(detail(bad, 'confinement')).toMatch(/apt-get install apparmor$/);
    expect(detail(bad, 'hugepages')).toBe('none reserved');
  });

  it('tell SELinux that only complains from one that confines', () => {
    expect(detail({ ...GOOD, confined: 'permissive' }, 'confinement')).toContain('setenforce 1');
    expect(detail({ ...GOOD, ksm: { on: false, savedBytes: 0 } }, 'ksm')).toBe('off');
    expect(detail({ ...GOOD, swap: { totalBytes: 0, usedBytes: 0 } }, 'swap')).toBe('none');
  });
});
