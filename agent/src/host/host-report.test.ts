/** What a host says that it can do is what proto/EXTENSIONS.md explains. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { VERSION } from '@berth/shared/version.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { createSimDrivers } from '../drivers/sim/sim-drivers.ts';
import { createHostReport } from './host-report.ts';

const report = () => {
  const drivers = createSimDrivers({ name: 'h1', runDir: '/nonexistent', clock: systemClock });
  const abilities = async () => ({ domainType: 'qemu' as const, emulatorPath: '/usr/bin/qemu', directIo: true });
  return createHostReport({ drivers, abilities, peerAddress: () => '' })();
};

it('a host reports exactly the capabilities that proto/EXTENSIONS.md lists, in its order', async () => {
  const text = await readFile(join(import.meta.dirname, '../../../proto/EXTENSIONS.md'), 'utf8');
  const listed = [...text.matchAll(/^\| `([^`]+)` +\|/gm)].map((m) => m[1]);
  expect((await report()).capabilities).toEqual(listed);
});

it('a host reports the version of its agent', async () => {
  expect((await report()).agentVersion).toBe(VERSION);
});

it('a host tells which CPU its guests can have, and asks libvirt once', async () => {
  const drivers = createSimDrivers({ name: 'h1', runDir: '/nonexistent', clock: systemClock, cpu: 'Westmere' });
  const { host } = drivers.hypervisor.cpus;
  let asked = 0;
  drivers.hypervisor.cpus.host = async (type) => {
    if (asked++ === 0) throw new ClusterError('HYPERVISOR_UNAVAILABLE', 'libvirt is away');
    return host(type);
  };
  const abilities = async () => ({ domainType: 'qemu' as const, emulatorPath: '/usr/bin/qemu', directIo: true });
  const look = createHostReport({ drivers, abilities, peerAddress: () => '' });
  expect((await look()).cpu).toBeUndefined();
  expect((await look()).cpu).toMatchObject({ model: 'Westmere', models: ['qemu64', 'Nehalem', 'Westmere'] });
  expect([(await look()).cpu?.model, asked]).toEqual(['Westmere', 2]);
});
