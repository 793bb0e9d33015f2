import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { createExec, type Exec } from './exec.ts';
import { domainTypeOf, judge, PROGRAMS, type HostSeen } from './host-checks.ts';
import type { Machine } from '../machine.ts';
import { createMachine, type MachineOptions } from './machine.ts';
import * as procfs from './procfs.ts';

const STAT = `cpu  82251 1228 13081 378583 6485 0 405 205 0 0
cpu0 37691 568 5656 196587 328 0 101 109 0 0
intr 3004105 0 0
btime 1763474640
`;
const MEMINFO = `MemTotal:       24684096 kB
MemFree:        21071768 kB
MemAvailable:   23303888 kB
Buffers:           21000 kB
`;
const CPUINFO = `processor	: 0
vendor_id	: GenuineIntel
model name	: Intel(R) Xeon(R) CPU
flags		: fpu vme vmx ept

processor	: 1
model name	: Intel(R) Xeon(R) CPU
flags		: fpu vme vmx ept
`;
const MOUNTS_V2 = '31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n';
const MOUNTS_V1 = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
`;

describe('what the kernel tells', () => {
  it('about time spent is a share of all processors', () => {
    const before = procfs.parseCpuTimes(STAT);
    expect(before).toEqual({ busy: 97170, total: 482238 });
    const now = procfs.parseCpuTimes(STAT.replace('82251', '82351').replace('378583', '378883'));
    expect(procfs.cpuShare(before, now)).toBe(0.25);
    expect(procfs.cpuShare(now, now)).toBe(0);
    expect(procfs.cpuShare(now, before)).toBe(0);
  });

  it('about memory, load, processors, cgroups and the system is read', () => {
    expect(procfs.parseMemory(MEMINFO)).toEqual({ totalBytes: 25276514304, availableBytes: 23863181312 });
    const cpu = procfs.parseCpu(CPUINFO);
    expect([cpu.model, cpu.threads, cpu.flags.has('vmx')]).toEqual(['Intel(R) Xeon(R) CPU', 2, true]);
    expect(procfs.parseCgroups(MOUNTS_V2)).toBe('v2');
    expect(procfs.parseCgroups(MOUNTS_V1)).toBe('v1');
    expect(procfs.parseCgroups('22 1 8:1 / / rw - ext4 /dev/sda1 rw\n')).toBe('none');
    expect(procfs.parseOsName('NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')).toBe(
      'Debian GNU/Linux 12 (bookworm)',
    );
    expect(procfs.parseStartTicks('1 (odd) name) S 0 0 0 0 -1 4194560 1 2 0 8 1 4 1 1 20 0 13 0 7 533 5')).toBe('7');
  });

  it('that is garbage is an error, not a number', () => {
    expect(() => procfs.parseCpuTimes('')).toThrow();
    expect(() => procfs.parseMemory('MemFree: 1 kB')).toThrow();
  });
});

const GOOD: HostSeen = {
  domainType: 'auto',
  cpuFlags: new Set(['svm']),
  kvm: 'usable',
  nestedPaging: true,
  cgroups: 'v2',
  clock: 'synchronised',
  missingPrograms: [],
  libvirtSocket: '/run/libvirt/libvirt-sock',
  dataDir: '/var/lib/berth',
  dataDirFault: undefined,
  unitMayWrite: true,
  bridgeModule: true,
  tun: true,
  care: {
    uefi: true,
    swtpm: true,
    swap: { totalBytes: 0, usedBytes: 0 },
    confined: 'apparmor',
    ksm: undefined,
    hugePages: [],
    transparentHugePages: 'madvise',
  },
};

describe('the checks of a host', () => {
  it('all pass on a good one', () => {
    expect(judge(GOOD).filter((c) => !c.ok)).toEqual([]);
  });

  it('say what is missing and what to do, and which of it prevents VMs', () => {
    const bad = judge({
      ...GOOD,
      cpuFlags: new Set(),
      kvm: 'absent',
      nestedPaging: undefined,
      cgroups: 'none',
      clock: 'unknown',
      missingPrograms: ['qemu-img', 'qemu-nbd', 'ip'],
      libvirtSocket: undefined,
      dataDirFault: 'EROFS',
      bridgeModule: false,
      tun: false,
    }).filter((c) => !c.ok);
    expect(bad.filter((c) => c.fatal).map((c) => c.name)).toEqual(['programs', 'libvirt', 'data-directory']);
    const detail = (name: string) => bad.find((c) => c.name === name)?.detail;
    expect(detail('programs')).toBe('not installed: qemu-img, qemu-nbd, ip; apt-get install qemu-utils iproute2');
    expect(detail('kvm')).toContain('modprobe');
    expect(detail('clock')).toContain('cannot tell');
    expect(detail('data-directory')).toContain('ReadWritePaths=/var/lib/berth');
  });

  it('name the unit where it keeps the agent from its data directory', () => {
    const [bad] = judge({ ...GOOD, dataDir: '/srv/berth', unitMayWrite: false }).filter((c) => !c.ok);
    expect(bad).toMatchObject({ name: 'data-directory', fatal: true });
    expect(bad?.detail).toMatch(
      /^\/srv\/berth cannot be written to by the agent's service: .*ReadWritePaths=\/srv\/berth/,
    );
  });

  it('do not ask for KVM where emulation is configured, and insist on it where KVM is', () => {
    const none = { ...GOOD, cpuFlags: new Set<string>(), kvm: 'denied' as const };
    expect(judge({ ...none, domainType: 'qemu' }).filter((c) => !c.ok)).toEqual([]);
    const insisted = judge({ ...none, domainType: 'kvm' }).filter((c) => c.fatal);
    expect(insisted.map((c) => c.name)).toEqual(['cpu-virtualization', 'kvm']);
  });

  it.each([
    ['auto', 'usable', 'kvm'],
    ['auto', 'absent', 'qemu'],
    ['auto', 'denied', 'qemu'],
    ['qemu', 'usable', 'qemu'],
    ['kvm', 'absent', 'kvm'],
  ] as const)('with the setting %s and /dev/kvm %s, VMs are of type %s', (domainType, kvm, expected) => {
    expect(domainTypeOf({ domainType, kvm })).toBe(expected);
  });
});

describe('a machine', () => {
  let root: string;
  const put = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text, { mode: 0o755 });
  };
  const machine = (domainType: 'auto' | 'kvm' | 'qemu' = 'auto', more: Partial<MachineOptions> = {}): Machine =>
    createMachine({
      exec: createExec({ unprivilegedUser: 'nobody' }),
      dataDir: join(root, 'data'),
      domainType,
      libvirtSockets: ['/run/libvirt/libvirt-sock', '/run/libvirt/virtqemud-sock'],
      root,
      ...more,
    });
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'berth-machine-'));
    await put('/proc/stat', STAT);
    await put('/proc/meminfo', MEMINFO);
    await put('/proc/cpuinfo', CPUINFO);
    await put('/proc/loadavg', '2.80 1.73 1.07 1/247 10258\n');
    await put('/proc/sys/kernel/random/boot_id', 'b6b4f0f8-0000-4000-8000-000000000001\n');
    await put('/proc/1/stat', '1 (init) S 0 0 0 0 -1 4194560 1 2 0 8 1 4 1 1 20 0 13 0 7 533 5');
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('tells what it is', async () => {
    await put('/etc/os-release', 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n');
    expect(await machine().facts()).toMatchObject({
      os: 'Debian GNU/Linux 12 (bookworm)',
      cpuThreads: 2,
      memoryBytes: 25276514304,
      bootId: 'b6b4f0f8-0000-4000-8000-000000000001-7',
    });
  });

  it('tells how busy it was since it was last asked', async () => {
    const m = machine();
    await m.load();
    await put('/proc/stat', STAT.replace('82251', '82351').replace('378583', '378883'));
    expect(await m.load()).toMatchObject({ cpuUsed: 0.25, load1: 2.8, memoryUsedBytes: 1413332992 });
  });

  it('looks for KVM, programs and sockets', async () => {
    const check = async (name: string) => (await machine().checks()).find((c) => c.name === name);
    expect(await check('kvm')).toMatchObject({ ok: false, fatal: false });
    await put('/dev/kvm', '');
    expect(await check('kvm')).toMatchObject({ ok: true });
    await put('/usr/bin/qemu-img', '');
    const programs = await check('programs');
    expect(programs).toMatchObject({ ok: false, fatal: true });
    expect(programs?.detail).not.toContain('qemu-img');
  });

  it('looks for its programs seldom while all are there, each time while one is missing, and whenever somebody wants to know now', async () => {
    const clock = new SimClock();
    for (const program of PROGRAMS.slice(1)) await put(`/usr/bin/${program}`, '');
    const m = machine('auto', { clock });
    const areThere = async (o?: { mayBeOld: boolean }) => (await m.checks(o)).find((c) => c.name === 'programs')?.ok;
    expect(await areThere({ mayBeOld: true })).toBe(false);
    await put(`/usr/bin/${PROGRAMS[0]}`, '');
    expect(await areThere({ mayBeOld: true })).toBe(true);
    await rm(join(root, 'usr/bin', PROGRAMS[0]));
    await clock.advance(599_000);
    expect(await areThere({ mayBeOld: true })).toBe(true);
    expect(await areThere()).toBe(false);
  });

  it('asks about its clock seldom while that is right, each time while it is not, and whenever somebody wants to know now', async () => {
    const clock = new SimClock();
    let says = 'yes\n';
    let asked = 0;
    const run: Exec['run'] = async (program) => {
      if (program === 'timedatectl') asked++;
      return { stdout: says, stderr: '', exitCode: 0 };
    };
    const m = machine('auto', { exec: { run }, clock });
    const isRight = async (o?: { mayBeOld: boolean }) => {
      asked = 0;
      return (await m.checks(o)).find((c) => c.name === 'clock')?.ok;
    };
    expect([await isRight({ mayBeOld: true }), asked]).toEqual([true, 1]);
    says = 'no\n';
    await clock.advance(599_000);
    expect([await isRight({ mayBeOld: true }), asked]).toEqual([true, 0]);
    expect([await isRight(), asked]).toEqual([false, 1]);
    expect([await isRight({ mayBeOld: true }), asked]).toEqual([false, 1]);
    says = 'yes\n';
    expect([await isRight({ mayBeOld: true }), asked]).toEqual([true, 1]);
    await clock.advance(600_000);
    expect([await isRight({ mayBeOld: true }), asked]).toEqual([true, 1]);
  });

  it('of this test answers every question', async () => {
    const real = createMachine({
      exec: createExec({ unprivilegedUser: 'nobody' }),
      dataDir: join(root, 'data'),
      domainType: 'auto',
      libvirtSockets: ['/run/libvirt/libvirt-sock'],
    });
    expect((await real.facts()).memoryBytes).toBeGreaterThan(0);
    expect((await real.checks()).every((c) => c.detail !== '')).toBe(true);
    expect((await real.load()).cpuUsed).toBeLessThanOrEqual(1);
  });
});
