/** CustomizeService over a real gRPC pair and simulated disks: when it is allowed, what it answers, what is left after a cancel. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { GuestActions } from '@berth/proto/agent/v1/customize.ts';
import { OperationState } from '@berth/proto/agent/v1/operation.ts';
import { until } from '@berth/test/harness/until.ts';
import type { GuestDisks } from '../drivers/guest-disks.ts';
import { AgentWorld, call, context } from '../testing/world.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const NOTHING: GuestActions = {
  ...{ hostname: '', nics: [], sshKeys: [], sshUser: '', firstBoot: '' },
  ...{ serialLogin: false, newMachineId: false, newHostKeys: false, generalize: false },
};
let w: AgentWorld;
let over: Partial<GuestDisks> = {};

beforeEach(async () => {
  over = {};
  w = await AgentWorld.start((d) => ({
    ...d,
    guestDisks: { ...d.guestDisks, unfinished: () => (over.unfinished ?? d.guestDisks.unfinished)() },
  }));
  const { volume, domain } = w.clients;
  const about = { volumeId: 'volume-1', vmId: 'vm-1', imageDigest: '', sizeBytes: 2n ** 30n };
  await call(volume, volume.ensureVolume, { context: context('job-1.volume'), ...about });
  const sizes = { vcpus: 1, memoryBytes: 2n ** 29n, disks: [{ target: 'vda', volumeId: 'volume-1' }], nics: [] };
  const spec = { ...sizes, vmId: 'vm-1', uuid: UUID, name: 'web', seedVolumeId: '', cdroms: [], generation: 1n };
  await call(domain, domain.ensureDomain, { context: context('job-1.define'), spec });
});
afterEach(() => w.end());

const begin = (id: string, actions: Partial<GuestActions>, volumeId = 'volume-1') =>
  call(w.clients.customize, w.clients.customize.customizeVolume, {
    ...{ context: context(id), volumeId, domainUuid: UUID },
    actions: { ...NOTHING, ...actions },
  });
const operation = (operationId: string) => call(w.clients.operation, w.clients.operation.getOperation, { operationId });
const ended = (id: string) =>
  until('it ends', async () => {
    const o = await operation(id);
    return o.state === OperationState.RUNNING ? undefined : o;
  });
const start = (id: string) =>
  call(w.clients.domain, w.clients.domain.startDomain, { context: context(id), uuid: UUID, vmId: 'vm-1' });
const text = (path: string) => {
  const e = w.drivers.sim.guestFiles.get('volume-1')?.get(path);
  return e?.kind === 'file' ? e.text : undefined;
};
const power = async () => (await w.drivers.hypervisor.list())[0]?.power;

it('changes a guest that is off, and tells in words what was done', async () => {
  const started = await begin('job-2.customize', { hostname: 'web', serialLogin: true });
  expect(OperationState[started.state]).toBe('RUNNING');
  const done = await ended('job-2.customize');
  expect(done).toMatchObject({ state: OperationState.SUCCEEDED, errorMessage: '' });
  expect(done.detail).toBe('Debian GNU/Linux 12 (bookworm), host name web, a login on its serial port');
  expect(text('/etc/hostname')).toBe('web\n');
});

it('waits for no image that is still coming under the disk, and says so', async () => {
  const imageDigest = `sha256:${'5f'.repeat(32)}`;
  w.drivers.sim.volumes.set('volume-1', { ...w.drivers.sim.volumes.get('volume-1')!, imageDigest });
  w.drivers.sim.filling.set(imageDigest, 2 ** 30);
  await begin('job-2.customize', { hostname: 'web' });
  expect((await ended('job-2.customize')).errorMessage).toMatch(/its image is not whole on this host yet/);
  expect(text('/etc/hostname')).not.toBe('web\n');
});

it('does it once, however often it is asked, and remembers its answer over a restart', async () => {
  await begin('job-2.customize', { hostname: 'web' });
  await ended('job-2.customize');
  w.drivers.sim.guestFiles.clear();
  await w.down();
  await w.up();
  expect(await begin('job-2.customize', { hostname: 'web' })).toMatchObject({
    state: OperationState.SUCCEEDED,
    detail: 'Debian GNU/Linux 12 (bookworm), host name web',
  });
  expect(text('/etc/hostname')).toBeUndefined();
  await expect(begin('job-2.customize', { hostname: 'db' })).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
});

it('is taken up by the next agent when this one ends in the middle', async () => {
  await begin('job-2.customize', { hostname: 'web' });
  await w.down();
  expect(text('/etc/hostname')).toBeUndefined();
  await w.up();
  expect(await ended('job-2.customize')).toMatchObject({ state: OperationState.SUCCEEDED });
  expect(text('/etc/hostname')).toBe('web\n');
});

it('lets its domain start only when it has ended', async () => {
  await begin('job-2.customize', { hostname: 'web' });
  const starting = start('job-3.start');
  await until('it ends', async () => {
    if (text('/etc/hostname') === 'web\n') return true;
    expect(await power()).toBe('stopped');
    return undefined;
  });
  expect(await starting).toMatchObject({ state: OperationState.SUCCEEDED });
});

it('refuses a guest that is on, and changes nothing in it', async () => {
  await start('job-2.start');
  await begin('job-3.customize', { hostname: 'web' });
  expect(await ended('job-3.customize')).toMatchObject({
    state: OperationState.FAILED,
    errorReason: 'IN_USE',
    errorMessage: expect.stringMatching(
      /^volume volume-1 is in use: vm web is running on this host\. .* when it is stopped$/,
    ),
  });
  expect(w.drivers.sim.guestFiles.size).toBe(0);
});

it('does not start a guest whose volume has only a part of its changes', async () => {
  over = { unfinished: async () => ['volume-9', 'volume-1'] };
  await expect(start('job-2.start')).rejects.toMatchObject({
    reason: 'RESOURCE_BUSY',
    message: expect.stringMatching(/^vm web cannot start: its guest is being changed on volume volume-1/),
  });
  over = {};
  expect(await start('job-2.start')).toMatchObject({ state: OperationState.SUCCEEDED });
});

it('changes nothing when it is cancelled, and the guest can start', async () => {
  await begin('job-2.customize', { hostname: 'web' });
  const { fence } = context('x');
  await call(w.clients.operation, w.clients.operation.cancelOperation, { fence, operationId: 'job-2.customize' });
  expect(w.drivers.sim.guestFiles.size).toBe(0);
  await expect(begin('job-2.customize', { hostname: 'web' })).rejects.toMatchObject({ reason: 'CANCELLED' });
  expect(await start('job-3.start')).toMatchObject({ state: OperationState.SUCCEEDED });
});

it('says what to install where it cannot be done', async () => {
  w.drivers.sim.faults.noGuestfish = true;
  await begin('job-2.customize', { hostname: 'web' });
  expect(await ended('job-2.customize')).toMatchObject({
    errorReason: 'UNSUPPORTED',
    errorMessage: expect.stringMatching(/apt-get install guestfish$/),
  });
});

it('refuses what makes no sense before anything is begun', async () => {
  for (const actions of [{}, { hostname: 'a b' }, { firstBoot: 'no shebang' }])
    await expect(begin('job-2.customize', actions)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  await expect(begin('job-2.c', { hostname: 'x' }, '../../etc/passwd')).rejects.toMatchObject({
    reason: 'INVALID_ARGUMENT',
  });
  await begin('job-2.absent', { hostname: 'x' }, 'volume-9');
  expect(await ended('job-2.absent')).toMatchObject({ errorReason: 'NOT_FOUND' });
});

const generalize = (id: string, uploadId: string) =>
  call(w.clients.customize, w.clients.customize.generalizeUpload, { context: context(id), uploadId });

it('a captured disk is generalized, and the volume that it was copied of stays as it is', async () => {
  const disks = [{ target: 'vda', volumeId: 'volume-1', uploadId: 'job-5.copy.vda' }];
  await call(w.clients.capture, w.clients.capture.captureDisks, {
    ...{ context: context('job-5.copy'), uuid: UUID, vmId: 'vm-1', disks },
  });
  await ended('job-5.copy');
  await generalize('job-5.generalize', 'job-5.copy.vda');
  const done = await ended('job-5.generalize');
  expect([OperationState[done.state], done.detail]).toEqual([
    'SUCCEEDED',
    expect.stringMatching(/Debian.*generalized/),
  ]);
  const copy = w.drivers.sim.guestFiles.get('job-5.copy.vda');
  expect(copy?.has('/etc/ssh/ssh_host_ed25519_key')).toBe(false);
  expect(w.drivers.sim.guestFiles.get('volume-1')).toBeUndefined();
});

it('what is no captured disk is not generalized', async () => {
  await generalize('job-6.generalize', 'job-6.copy.vda');
  const failed = await ended('job-6.generalize');
  expect([OperationState[failed.state], failed.errorReason]).toEqual(['FAILED', 'NOT_FOUND']);
});

it('refuses in words a disk that is no file', async () => {
  const found = { volumeId: 'volume-1', vmId: 'vm-1', seed: false, imageDigest: undefined, sizeBytes: 2 ** 30 };
  const source = { type: 'network', protocol: 'rbd', name: 'vms/volume-1', hosts: [] } as const;
  vi.spyOn(w.drivers.disks, 'findVolume').mockResolvedValue({ ...found, allocatedBytes: 0, format: 'raw', source });
  await begin('job-3.customize', { hostname: 'web' });
  expect(await ended('job-3.customize')).toMatchObject({
    state: OperationState.FAILED,
    errorMessage: expect.stringContaining('is no file on this host') as string,
  });
});
