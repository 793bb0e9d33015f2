import { describe, expect, it } from 'vitest';
import type { HostCheck } from '@berth/shared/model/host.ts';
import { checkHost } from './checks.ts';
import { versionChecks } from './version-checks.ts';

const check = (name: string): HostCheck => ({ name, ok: true, detail: '', fatal: false });
const machine = (asked: string[] = []) => ({
  checks: async () => [check('kvm')],
  nameChecks: async (names: readonly string[]) => (asked.push(...names), [check('own-name')]),
});
const info = (libvirtVersion: string, qemuVersion: string) => ({ libvirtVersion, qemuVersion });

describe('the versions of libvirt and QEMU', () => {
  it.each([
    ['8.0.0', '6.2.0', true, true],
    ['9.0.0', '10.1', true, true],
    ['7.10.9', '6.2.0', false, true],
    ['8.0.0', '6.1.9', true, false],
  ])('of %s and %s are new enough: %s, %s', (libvirt, qemu, libvirtFits, qemuFits) => {
    const both = versionChecks(info(libvirt, qemu));
    expect(both.map((c) => c.ok)).toEqual([libvirtFits, qemuFits]);
    for (const c of both.filter((x) => !x.ok)) {
      expect(c.fatal).toBe(true);
      expect(c.detail).toMatch(/ is older than .*: upgrade the system$/);
    }
  });

  it('that nobody can tell are worth a look, and nothing is said while libvirt is away', () => {
    expect(versionChecks(info('', 'unknown')).map((c) => [c.ok, c.fatal])).toEqual([
      [false, false],
      [false, false],
    ]);
    expect(versionChecks(undefined)).toEqual([]);
  });
});

describe('a look at a host', () => {
  it('takes in the machine, the versions and the names, its own and others', async () => {
    const asked: string[] = [];
    const hypervisor = {
      info: async () => ({ ...info('9.0.0', '7.2.0'), domainTypes: [], emulatorPath: '', cpuModel: '' }),
    };
    const all = await checkHost({ machine: machine(asked) as never, hypervisor }, ['h2']);
    expect(all.map((c) => c.name)).toEqual(['kvm', 'libvirt-version', 'qemu-version', 'own-name']);
    expect(asked).toEqual(['h2']);
  });

  it('goes on while libvirt is away', async () => {
    const hypervisor = { info: () => Promise.reject(new Error('away')) };
    expect((await checkHost({ machine: machine() as never, hypervisor }, [])).map((c) => c.name)).toEqual([
      'kvm',
      'own-name',
    ]);
  });
});
