/** HardwareService over a real gRPC pair and simulated drivers: what runs is changed, what is stored is not, refusals in words. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperationState, type Operation } from '@berth/proto/agent/v1/operation.ts';
import { AgentWorld, call, context } from './testing/world.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const MAC = '52:54:00:0a:0b:0c';
const ref = { uuid: UUID, vmId: 'vm-1' };
const MIB = 2n ** 20n;
const IMAGE = `sha256:${'5f'.repeat(32)}`;
let w: AgentWorld;
let operation = 0;

beforeEach(async () => {
  w = await AgentWorld.start();
  const { domain } = w.clients;
  w.drivers.sim.images.set(IMAGE, { digest: IMAGE, virtualSizeBytes: 2 ** 20, fileBytes: 1 });
  await call(domain, domain.ensureDomain, {
    context: context('job-1.define'),
    spec: {
      ...{ ...ref, name: 'web', vcpus: 1, memoryBytes: 512n * MIB, disks: [], seedVolumeId: '', generation: 1n },
      nics: [{ mac: MAC, bridge: 'br0', model: 'virtio' }],
      cdroms: [{ target: 'sda', bus: 'sata', imageDigest: '' }],
    },
  });
  // as an agent of today defines one that may grow
  w.drivers.sim.define({
    ...{ uuid: UUID, name: 'web' },
    xml: w.drivers.sim
      .get(UUID)
      .xml.replace(/<vcpu[^>]*>1</, '<vcpu placement="static" current="1">2<')
      .replace(/<memory unit="KiB">\d+</, '<memory unit="KiB">1048576<')
      .replace(/<disk[\s\S]*<\/disk>/, '')
      .replace('</devices>', '<disk type="file" device="cdrom"><target dev="sda" bus="sata"/></disk></devices>'),
  });
});
afterEach(() => w.end());

const id = () => ({ context: context(`job-2.${++operation}`), ...ref });
const hardware = () => w.clients.hardware;
const setVcpus = (vcpus: number) => call(hardware(), hardware().setVcpus, { ...id(), vcpus });
const setMemory = (memoryBytes: bigint) => call(hardware(), hardware().setMemory, { ...id(), memoryBytes });
const medium = (over: { target?: string; imageDigest?: string }) =>
  call(hardware(), hardware().changeMedium, {
    ...{ ...id(), target: 'sda', imageDigest: IMAGE, force: false },
    ...over,
  });
const link = (mac: string, down: boolean) => call(hardware(), hardware().setLink, { ...id(), mac, down });
const start = () => call(w.clients.domain, w.clients.domain.startDomain, id());
const sizes = async () => (await w.drivers.hypervisor.list()).map((d) => [d.vcpus, d.memoryBytes / 2 ** 20])[0];
const done = async (o: Promise<Operation>) => {
  const { state, errorMessage } = await o;
  expect(errorMessage).toBe('');
  expect(OperationState[state]).toBe('SUCCEEDED');
};
const refusal = async (o: Promise<Operation>) => {
  const { state, errorReason, errorMessage } = await o;
  expect(OperationState[state]).toBe('FAILED');
  return `${errorReason}: ${errorMessage}`;
};
const running = () => w.drivers.sim.getRunningXml(UUID);

describe('a guest that runs', () => {
  beforeEach(start);

  it('gets vCPUs and memory up to what it was started for; the next start knows nothing of it', async () => {
    await done(setVcpus(2));
    await done(setVcpus(2));
    await done(setMemory(1024n * MIB));
    expect(await sizes()).toEqual([2, 1024]);
    await w.drivers.hypervisor.destroy(UUID);
    expect(await sizes()).toEqual([1, 512]);
    await start();
    expect(await sizes()).toEqual([1, 512]);
  });

  it('gets no more than that, and loses no vCPUs; nothing changes', async () => {
    expect(await refusal(setVcpus(3))).toMatch(
      /^BAD_STATE: vm web was started for at most 2 vCPUs.* stop and start it$/,
    );
    expect(await refusal(setMemory(2048n * MIB))).toMatch(/^BAD_STATE: vm web was started for at most 1 GiB/);
    await setVcpus(2);
    expect(await refusal(setVcpus(1))).toMatch(/none can be taken .* It has 1 at its next start$/);
    expect(await sizes()).toEqual([2, 512]);
  });

  it('has its media changed and taken out, and its cable too', async () => {
    await done(medium({}));
    expect(running()).toMatch(/<source file="\S+5f\.qcow2">\s*<seclabel model="dac" relabel="no"\/>/);
    await done(medium({ imageDigest: '' }));
    expect(running()).not.toContain('5f.qcow2');
    await done(link(MAC.toUpperCase(), true));
    expect(running()).toContain('<link state="down"/>');
    await done(link(MAC, false));
    expect(running()).toContain('<link state="up"/>');
    expect(w.drivers.sim.get(UUID).xml).not.toContain('<link');
  });

  it('keeps the image of its drive from being removed, until it is taken out of the definition', async () => {
    const { image } = w.clients;
    const remove = () => call(image, image.removeImage, { context: context(`job-3.${++operation}`), digest: IMAGE });
    const { sim } = w.drivers;
    const before = sim.get(UUID).xml;
    const path = `/var/lib/berth/images/${'5f'.repeat(32)}.qcow2`;
    sim.define({
      uuid: UUID,
      name: 'web',
      xml: before.replace('<target dev="sda"', `<source file="${path}"/><target dev="sda"`),
    });
    expect(await refusal(remove())).toMatch(/^IN_USE: image \S+ is in use: it lies in drive sda of vm web$/);
    sim.define({ uuid: UUID, name: 'web', xml: before });
    await done(remove());
  });

  it('is told what it has when something is asked of what it has not', async () => {
    expect(await refusal(medium({ target: 'hdc' }))).toBe(
      'NOT_FOUND: vm web runs without a CD-ROM drive hdc: it has sda',
    );
    expect(await refusal(medium({ imageDigest: `sha256:${'00'.repeat(32)}` }))).toMatch(/is not on host-1$/);
    expect(await refusal(link('52:54:00:00:00:01', true))).toMatch(
      `runs without a network card 52:54:00:00:00:01: it has`,
    );
  });

  it('that keeps its drive locked is not robbed of the medium without force', async () => {
    const { drivers } = w;
    drivers.sim.changeRunning(UUID, (xml) => xml.replace('<target dev="sda"', '<target tray="locked" dev="sda"'));
    expect(await refusal(medium({}))).toMatch(
      /^BAD_STATE: the guest of vm web keeps its drive sda locked: unmount the medium in the guest, or use force/,
    );
    await done(call(hardware(), hardware().changeMedium, { ...id(), target: 'sda', imageDigest: IMAGE, force: true }));
  });
});

it('a guest that is off, or of another VM, is not changed', async () => {
  for (const o of [setVcpus(2), setMemory(512n * MIB), medium({}), link(MAC, true)])
    expect(await refusal(o)).toBe('BAD_STATE: vm web is stopped on host-1; only what runs can be changed like this');
  const other = call(hardware(), hardware().setVcpus, { ...id(), vmId: 'vm-2', vcpus: 2 });
  expect(await refusal(other)).toMatch(/belongs to vm-1, not to vm-2; it is left alone/);
});

it.each([
  () => setVcpus(0),
  () => setVcpus(1025),
  () => setMemory(1n),
  () => setMemory(16n * MIB + 1n),
  () => medium({ target: '../sda' }),
  () => medium({ imageDigest: 'x' }),
  () => link('01:00:5e:00:00:01', true),
])('a request that is none is refused: %s', async (ask) => {
  await expect(ask()).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
});
