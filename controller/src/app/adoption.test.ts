/** Reviews and adoption over hosts that say anything. With real agents: test/integration/restore.test.ts. */
import { beforeEach, describe, expect, it } from 'vitest';
import { newId, type HostId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { AgentClient, DomainDescription } from '../hosts/agent-client.ts';
import type { DomainRecord, ImageRecord, VolumeRecord } from '../hosts/decode.ts';
import type { HostHas, Hosts } from '../hosts/hosts.ts';
import { memoryState } from '../hosts/testing.ts';
import { claimOf } from '../jobs/world.ts';
import { aHost, anImage, aVm } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import { Adoption } from './adoption.ts';
import { Reviews } from './reviews.ts';

class Said {
  readonly domains = new Map<string, DomainRecord>();
  readonly volumes = new Map<string, VolumeRecord>();
  readonly images = new Map<string, ImageRecord>();
  complete: ReadonlySet<string> = new Set(['domains', 'volumes', 'images']);
  capabilities = ['domain.describe'];
  goneAtMs = (): undefined => undefined;
  readonly descriptions = new Map<string, DomainDescription>();
}

const DIGEST = `sha256:${'ab'.repeat(32)}`;
let state: State;
let adoption: Adoption;
let reviews: Reviews;
let said: Map<HostId, Said>;
let h1: HostId;
let h2: HostId;

beforeEach(async () => {
  state = await memoryState();
  const [a, b] = [aHost({ name: 'h1' }), aHost({ name: 'h2' })];
  [h1, h2] = [a.id, b.id];
  said = new Map([
    [h1, new Said()],
    [h2, new Said()],
  ]);
  await state.update((tx) => [a, b].forEach((h) => tx.hosts.put(h)));
  const hosts = {
    has: (id: HostId): HostHas | undefined => said.get(id),
    status: (id: HostId) => ({
      state: 'up',
      reason: '',
      facts: { capabilities: said.get(id)!.capabilities, agentVersion: '0.0.9' },
    }),
    strays: () => [...said].flatMap(([hostId, s]) => [...s.domains.values()].map((domain) => ({ hostId, domain }))),
    agent: (id: HostId) =>
      ({
        describeDomain: async ({ uuid }: { uuid: string }) => said.get(id)!.descriptions.get(uuid),
      }) as unknown as AgentClient,
  } as unknown as Hosts;
  adoption = new Adoption({ state, hosts });
  reviews = new Reviews({ state, hosts, clock: systemClock });
});

/** The host has what the row says. */
function has(
  hostId: HostId,
  vm: Vm,
  power: DomainRecord['power'] = 'running',
  over: Partial<DomainDescription> = {},
): void {
  const { uuid, name, spec } = vm;
  const { vcpus, memoryBytes } = spec;
  const s = said.get(hostId)!;
  s.domains.set(uuid, { uuid, name, vmId: vm.id, power, reason: '', memoryBytes, vcpus, seenAtMs: 0 });
  const wanted = { ...spec, vmId: vm.id, uuid, name, generation: vm.generation };
  const volumes = new Map(spec.disks.map((d) => [d.volumeId, { sizeBytes: d.sizeBytes, imageDigest: undefined }]));
  s.descriptions.set(uuid, { wanted, volumes, changes: [], ...over });
}
const found = (name = 'web'): Vm => aVm({ name, phase: 'ready' });
const adopt = (vm: string, o: { host?: string; force?: boolean } = {}) =>
  adoption.adoptVm({ vm, host: o.host ?? '', force: o.force ?? false }, 'eve');

describe('a VM that was found', () => {
  it('becomes the row that it was, powered as it is, with its claim and the time of its id', async () => {
    const vm = found();
    has(h1, vm);
    expect(adoption.found().map((f) => [f.domain.name, f.host.name, f.detail])).toEqual([['web', 'h1', '']]);
    const row = await adopt('web');
    expect(row).toMatchObject({ id: vm.id, uuid: vm.uuid, phase: 'ready', hostId: h1, desiredPower: 'on' });
    expect(row.spec).toMatchObject({ disks: vm.spec.disks.map(({ imageId: _, ...d }) => d), runPolicy: 'manual' });
    expect(row.createdAtMs).toBe(1_700_000_000_000);
    expect(state.tables.claims.get(vm.id)).toMatchObject({ hostId: h1, powered: true });
    expect(adoption.found()).toEqual([]);
    await expect(adopt('web')).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
  });

  it('brings an image along that nobody knows, with all its copies', async () => {
    const vm = found();
    const volumes = new Map(vm.spec.disks.map((d) => [d.volumeId, { sizeBytes: 2 ** 30, imageDigest: DIGEST }]));
    has(h1, vm, 'stopped', { volumes });
    for (const s of said.values()) s.images.set(DIGEST, { virtualSizeBytes: 2 ** 30, fileBytes: 5 });
    await adopt(vm.id);
    const image = state.tables.images.byName('found-abababababab')!;
    expect(image).toMatchObject({ digest: DIGEST, state: 'available', virtualSizeBytes: 2 ** 30 });
    expect(state.tables.imageCopies.byImage(image.id)).toHaveLength(2);
    expect(state.tables.vms.get(vm.id)?.spec.disks[0]?.imageId).toBe(image.id);
  });

  it('that was changed on its host needs a word more, and nothing is lost unasked', async () => {
    const vm = found();
    has(h1, vm, 'running', { changes: ['disk vdb (/x) is not in the pool'] });
    await expect(adopt('web')).rejects.toThrow(/was changed on h1 .*disk vdb .*--force/);
    await adopt('web', { force: true });
  });

  it('is refused where its name or MAC address is taken, or its host is too old', async () => {
    const vm = found();
    has(h1, vm);
    said.get(h1)!.capabilities = [];
    await expect(adopt('web')).rejects.toThrow(
      /the agent 0\.0\.9 of host h1 cannot describe .*lacks domain\.describe.*upgrade/,
    );
    said.get(h1)!.capabilities = ['domain.describe'];
    await state.update((tx) => tx.vms.put(aVm({ name: 'web', hostId: h2 })));
    await expect(adopt(vm.id)).rejects.toThrow(/has the name of another vm/);
    const other = found('other');
    const mac = '52:54:00:00:00:09';
    const nics = [{ mac, bridge: 'br0', model: 'virtio', address: undefined, gateway: undefined, dns: [] }];
    has(h2, { ...other, spec: { ...other.spec, nics } });
    await state.update((tx) => {
      const holder = aVm({ name: 'holder', hostId: h1 });
      tx.vms.put({ ...holder, spec: { ...holder.spec, nics } });
    });
    await expect(adopt('other')).rejects.toThrow(/has MAC address 52:54:00:00:00:09, which vm holder has too/);
  });

  it('on two hosts is asked about, and while it runs on both is never adopted', async () => {
    const vm = found();
    has(h1, vm);
    has(h2, vm, 'stopped');
    await expect(adopt('web')).rejects.toThrow(/found more than once: h1 .*, h2 .*--host/);
    has(h2, vm, 'running');
    await expect(adopt('web', { host: 'h1' })).rejects.toThrow(/it runs on h2 too/);
    has(h2, vm, 'stopped');
    expect((await adopt('web', { host: 'h1' })).hostId).toBe(h1);
  });

  it('moves to the host that has it only when its own says that it does not', async () => {
    const vm = aVm({ name: 'web', phase: 'ready', hostId: h1 });
    await state.update((tx) => tx.vms.put({ ...vm, spec: { ...vm.spec, labels: { a: 'b' } } }));
    has(h2, vm);
    said.get(h1)!.complete = new Set();
    await expect(adopt('web')).rejects.toThrow(/has it on h1, which does not say/);
    said.get(h1)!.complete = new Set(['domains']);
    expect(await adopt('web')).toMatchObject({ hostId: h2, spec: { labels: { a: 'b' } } });
  });

  it('of which its host tells nonsense is refused, whatever the nonsense', async () => {
    const vm = found();
    const { wanted } = (has(h1, vm), said.get(h1)!.descriptions.get(vm.uuid)!);
    const other = found('other');
    for (const bad of [
      { vmId: 'vm-x' },
      { vmId: other.id },
      { uuid: other.uuid },
      { name: '../etc' },
      { vcpus: 0 },
      { vcpus: 1e9 },
      { memoryBytes: Number.NaN },
      { memoryBytes: 2 ** 60 },
      { generation: -1 },
      { seedVolumeId: 'volume-x' },
      { disks: [{ target: 'vda', volumeId: newId('volume', 1) }] },
      { disks: [{ target: '../x', volumeId: vm.spec.disks[0]!.volumeId }] },
      { nics: [{ mac: 'ff:ff:ff:ff:ff:ff', bridge: 'br0', model: '' }] },
      { nics: [{ mac: '52:54:00:00:00:01', bridge: '../../x', model: '' }] },
    ]) {
      has(h1, vm, 'running', { wanted: { ...wanted, ...bad } as DomainDescription['wanted'] });
      await expect(adopt(vm.id), JSON.stringify(bad)).rejects.toMatchObject({ name: 'ClusterError' });
    }
    expect(state.tables.vms.size).toBe(0);
  });
});

describe('an image that was found', () => {
  it('has the size on which its hosts agree; the host of a vm that has it is believed about its own', async () => {
    said.get(h1)!.images.set(DIGEST, { virtualSizeBytes: 2 ** 50, fileBytes: 5 });
    said.get(h2)!.images.set(DIGEST, { virtualSizeBytes: 2 ** 30, fileBytes: 5 });
    await expect(adoption.adoptImage(DIGEST, 'base', 'eve')).rejects.toThrow(
      /^hosts do not agree how large image base is: h1 says 1 PiB, h2 says 1 GiB\. /,
    );
    expect(state.tables.images.size).toBe(0);
    const vm = found();
    const volumes = new Map(vm.spec.disks.map((d) => [d.volumeId, { sizeBytes: 2 ** 30, imageDigest: DIGEST }]));
    has(h2, vm, 'running', { volumes });
    await adopt('web');
    const [image] = state.tables.images.byDigest(DIGEST);
    expect(image?.virtualSizeBytes).toBe(2 ** 30);
    expect(state.tables.imageCopies.byImage(image!.id).map((k) => k.hostId)).toEqual([h2]);
  });

  it('is adopted under a name, by its digest or what it is shown as, once', async () => {
    said.get(h2)!.images.set(DIGEST, { virtualSizeBytes: 7, fileBytes: 5 });
    await expect(adoption.adoptImage('found-00', '', 'eve')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    await expect(adoption.adoptImage(DIGEST, 'no good', 'eve')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    expect(await adoption.adoptImage('found-abababababab', 'base', 'eve')).toMatchObject({
      name: 'base',
      digest: DIGEST,
    });
    await expect(adoption.adoptImage(DIGEST, 'again', 'eve')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });
});

describe('the review of a host', () => {
  const restored = (hostId: HostId) => state.update((tx) => tx.reviews.put({ hostId, restoredAtMs: 2, backupAtMs: 1 }));
  const differences = async (host = 'h1') =>
    (await reviews.list([host]))[0]!.differences.map((d) => `${d.kind} ${d.what} ${d.name}`);

  it('tells what only one side has, and takes nothing that it has not seen for gone', async () => {
    const image = anImage({ name: 'lost', digest: `sha256:${'cd'.repeat(32)}` });
    const gone = aVm({ name: 'gone', phase: 'ready', hostId: h1 });
    await state.update((tx) => {
      tx.vms.put(gone);
      tx.images.put(image);
      tx.imageCopies.put({ imageId: image.id, hostId: h1, fileBytes: 1 });
    });
    has(h1, found('new'));
    const s = said.get(h1)!;
    s.images.set(DIGEST, { virtualSizeBytes: 7, fileBytes: 5 });
    s.volumes.set('volume-x', {
      vmId: 'vm-nobody',
      sizeBytes: 5,
      allocatedBytes: 5,
      imageDigest: '',
      seed: false,
      format: 'qcow2',
    });
    expect(await differences()).toEqual([
      'vm found new',
      'vm gone gone',
      'image found found-abababababab',
      'image gone lost',
      'volume found volume-x',
    ]);
    s.complete = new Set();
    expect(await differences()).toEqual(['vm found new', 'image found found-abababababab', 'volume found volume-x']);
  });

  it('ends with what is: what is off stays off whatever its policy, what runs is meant to, copies are as reported', async () => {
    const off = aVm({ name: 'off', phase: 'ready', hostId: h1, desiredPower: 'on' });
    const on = aVm({ name: 'on', phase: 'ready', hostId: h1, desiredPower: 'off' });
    const [lost, there] = [anImage({ name: 'lost', digest: `sha256:${'cd'.repeat(32)}` }), anImage({ digest: DIGEST })];
    await state.update((tx) => {
      tx.vms.put({ ...off, spec: { ...off.spec, runPolicy: 'always' } });
      tx.vms.put(on);
      for (const vm of [off, on]) tx.claims.put(claimOf(vm, h1, vm.desiredPower === 'on'));
      for (const i of [lost, there]) tx.images.put(i);
      tx.imageCopies.put({ imageId: lost.id, hostId: h1, fileBytes: 1 });
    });
    await restored(h1);
    has(h1, off, 'crashed');
    has(h1, on, 'paused');
    said.get(h1)!.images.set(DIGEST, { virtualSizeBytes: 7, fileBytes: 5 });
    said.get(h1)!.complete = new Set(['domains']);
    await expect(reviews.accept('h1', 'eve')).rejects.toThrow(/does not know all of its volumes, images/);
    said.get(h1)!.complete = new Set(['domains', 'volumes', 'images']);
    expect(await reviews.accept('h1', 'eve')).toHaveLength(4);
    expect(state.tables.vms.get(off.id)?.desiredPower).toBe('off');
    expect(state.tables.vms.get(on.id)?.desiredPower).toBe('on');
    expect([off, on].map((vm) => state.tables.claims.get(vm.id)?.powered)).toEqual([false, true]);
    expect(state.tables.imageCopies.byHost(h1).map((c) => c.imageId)).toEqual([there.id]);
    expect(state.tables.reviews.size).toBe(0);
    expect(await reviews.accept('h1', 'eve')).toEqual([]);
  });
});
