/** The whole agent over a real gRPC pair and simulated drivers: who may call, what is done once, what a watch tells. */
import { afterEach, describe, expect, it } from 'vitest';
import { DomainPower } from '@berth/proto/agent/v1/domain.ts';
import { OperationState } from '@berth/proto/agent/v1/operation.ts';
import type { UploadRequest } from '@berth/proto/agent/v1/image.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { makeCa } from '@berth/test/harness/pki.ts';
import { until } from '@berth/test/harness/until.ts';
import type { Drivers } from './drivers/machine.ts';
import { AgentWorld, call, context, fence, watchInto, type Clients } from './testing/world.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const volume = (id: string, operation: string) => ({
  context: context(operation),
  volumeId: id,
  vmId: 'vm-1',
  imageDigest: '',
  sizeBytes: 2n ** 30n,
});
const spec = {
  vmId: 'vm-1',
  uuid: UUID,
  name: 'web',
  vcpus: 1,
  memoryBytes: 512n * 2n ** 20n,
  disks: [{ target: 'vda', volumeId: 'volume-1' }],
  nics: [{ mac: '52:54:00:00:00:01', bridge: 'br0', model: 'virtio' }],
  seedVolumeId: '',
  cdroms: [],
  generation: 1n,
};
const ref = { uuid: UUID, vmId: 'vm-1' };

let worlds: AgentWorld[] = [];
const startWorld = async (...args: Parameters<typeof AgentWorld.start>): Promise<AgentWorld> => {
  const w = await AgentWorld.start(...args);
  worlds.push(w);
  return w;
};
afterEach(async () => {
  await Promise.all(worlds.map((w) => w.end()));
  worlds = [];
});

async function defineWeb(c: Clients, job = 'job-1'): Promise<void> {
  await call(c.volume, c.volume.ensureVolume, volume('volume-1', `${job}.volume`));
  await call(c.domain, c.domain.ensureDomain, { context: context(`${job}.define`), spec });
}

describe('who may call the agent', () => {
  it('lets the controller of its installation in', async () => {
    const w = await startWorld();
    expect(await call(w.clients.host, w.clients.host.getHost, {})).toMatchObject({
      hostname: 'host-1',
      domainType: 'qemu',
      peerAddress: `127.0.0.1:${w.peerPort}`,
    });
  });

  it.each(['urn:berth:host:host-1', 'urn:berth:controller:installation-2', ''])('refuses the name %j', async (uri) => {
    const w = await startWorld();
    const c = await w.as(uri);
    await expect(call(c.host, c.host.getHost, {})).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
    const { failure } = watchInto(c);
    expect(fromStatus(await until('a refused watch', failure), 'HOST_UNREACHABLE', 'a')).toMatchObject({
      reason: 'PERMISSION_DENIED',
    });
  });

  it('does not even talk to a certificate of another CA', async () => {
    const w = await startWorld();
    const c = await w.as('urn:berth:controller:installation-1', await makeCa());
    await expect(call(c.host, c.host.getHost, {})).rejects.toMatchObject({ reason: 'HOST_UNREACHABLE' });
  });

  it('refuses a change without a fence, of another installation, and of a stale database', async () => {
    const w = await startWorld();
    const { network } = w.clients;
    const ask = (over: object | undefined) =>
      call(network, network.ensureBridge, {
        context: { fence: over && fence(over), operationId: 'job-1.bridge' },
        name: 'br1',
        addresses: [],
      });
    await expect(ask(undefined)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await expect(ask({ installationId: 'x' })).rejects.toMatchObject({ reason: 'WRONG_CONTROLLER' });
    await ask({ controllerEpoch: 3n, revision: 50n });
    await expect(ask({ controllerEpoch: 2n, revision: 99n })).rejects.toMatchObject({ reason: 'WRONG_CONTROLLER' });
    await expect(ask({ controllerEpoch: 3n, revision: 49n, runId: 'run-2' })).rejects.toMatchObject({
      reason: 'WRONG_CONTROLLER',
    });
    await w.down();
    await w.up();
    await expect(
      call(w.clients.network, w.clients.network.removeBridge, {
        context: context('job-2.x', { controllerEpoch: 2n }),
        name: 'br1',
      }),
    ).rejects.toMatchObject({ reason: 'WRONG_CONTROLLER' });
  });
});

describe('domains and volumes', () => {
  it('defines, starts, stops and removes a domain, each call twice', async () => {
    const w = await startWorld();
    const { domain, volume: vol } = w.clients;
    await defineWeb(w.clients);
    await defineWeb(w.clients, 'job-2');
    const twice = async (method: typeof domain.startDomain, id: string) => {
      for (const suffix of ['', '.again'])
        expect(await call(domain, method, { context: context(id + suffix), ...ref })).toMatchObject({
          state: OperationState.SUCCEEDED,
        });
    };
    const power = async () => (await call(domain, domain.listDomains, {})).domains[0]?.power;
    await twice(domain.startDomain, 'job-3.start');
    expect(await power()).toBe(DomainPower.RUNNING);
    expect(await call(domain, domain.removeDomain, { context: context('job-4.remove'), ...ref })).toMatchObject({
      state: OperationState.FAILED,
      errorReason: 'BAD_STATE',
    });
    expect(await call(vol, vol.removeVolume, { context: context('job-4.volume'), volumeId: 'volume-1' })).toMatchObject(
      {
        errorReason: 'IN_USE',
      },
    );
    await twice(domain.shutdownDomain, 'job-5.stop');
    await until('the guest is off', async () => (await power()) === DomainPower.STOPPED);
    await twice(domain.forceOffDomain, 'job-6.off');
    await twice(domain.removeDomain, 'job-7.remove');
    expect(w.drivers.sim.domains.size).toBe(0);
  });

  it('never touches a domain that is not the VM it was asked about', async () => {
    const w = await startWorld();
    w.drivers.sim.define({
      uuid: UUID,
      name: 'legacy',
      xml: `<domain><name>legacy</name><uuid>${UUID}</uuid></domain>`,
    });
    const { domain } = w.clients;
    for (const [method, id] of [
      [domain.startDomain, 'a'],
      [domain.forceOffDomain, 'b'],
      [domain.removeDomain, 'c'],
    ] as const)
      expect(await call(domain, method, { context: context(`job-1.${id}`), ...ref })).toMatchObject({
        errorReason: 'BAD_STATE',
      });
    expect(w.drivers.sim.domains.get(UUID)?.power).toBe('stopped');
    const list = await call(domain, domain.listDomains, {});
    expect(list.domains).toMatchObject([{ name: 'legacy', vmId: '' }]);
  });

  it('refuses a name that a foreign domain has', async () => {
    const w = await startWorld();
    w.drivers.sim.define({ uuid: UUID.replace('6', '7'), name: 'web', xml: '<domain><name>web</name></domain>' });
    const c = w.clients;
    await call(c.volume, c.volume.ensureVolume, volume('volume-1', 'job-1.volume'));
    expect(await call(c.domain, c.domain.ensureDomain, { context: context('job-1.define'), spec })).toMatchObject({
      errorReason: 'ALREADY_EXISTS',
    });
  });

  it.each([
    ['a name with a slash', { ...spec, name: '../etc/passwd' }],
    ['a volume id that is a path', { ...spec, disks: [{ target: 'vda', volumeId: '../../x' }] }],
    ['a size of −1', { ...spec, memoryBytes: 2n ** 64n - 1n }],
    ['no vCPU', { ...spec, vcpus: 0 }],
  ])('refuses %s and notes nothing', async (_, bad) => {
    const { clients: c } = await startWorld();
    await expect(
      call(c.domain, c.domain.ensureDomain, { context: context('job-1.define'), spec: bad }),
    ).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await expect(call(c.operation, c.operation.getOperation, { operationId: 'job-1.define' })).rejects.toMatchObject({
      reason: 'NOT_FOUND',
    });
  });

  it('reads the end of a serial log', async () => {
    const w = await startWorld();
    await defineWeb(w.clients);
    await call(w.clients.domain, w.clients.domain.startDomain, { context: context('job-1.start'), ...ref });
    const read = async () => {
      let text = '';
      for await (const m of w.clients.domain.readSerialLog({ vmId: 'vm-1', tailBytes: 0n, follow: false }))
        text += (m as { data: Buffer }).data.toString();
      return text;
    };
    expect(await until('a line', read)).toContain('berth-guest');
  });

  it('opens a console, both ways', async () => {
    const w = await startWorld();
    await defineWeb(w.clients);
    const { domain } = w.clients;
    await call(domain, domain.startDomain, { context: context('job-1.start'), ...ref });
    const stream = domain.openConsole();
    let text = '';
    stream.on('data', (m: { data: Buffer }) => (text += m.data.toString())).on('error', () => undefined);
    stream.write({ message: { $case: 'open', value: { ...ref, force: false } } });
    stream.write({ message: { $case: 'data', value: Buffer.from('hello') } });
    await until('an echo', () => text.includes('hello'));
    stream.cancel();
  });
});

describe('operations over the wire', () => {
  it('refuses another request under a used id, and a call after its cancel', async () => {
    const { clients: c } = await startWorld();
    await call(c.volume, c.volume.ensureVolume, volume('volume-1', 'job-1.v'));
    await expect(call(c.volume, c.volume.ensureVolume, volume('volume-2', 'job-1.v'))).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
    const cancel = (operationId: string) =>
      call(c.operation, c.operation.cancelOperation, { fence: fence(), operationId });
    expect(await cancel('job-1.v')).toMatchObject({ state: OperationState.SUCCEEDED });
    expect(await cancel('job-1.late')).toMatchObject({ state: OperationState.CANCELLED });
    expect(await cancel('job-1.late')).toMatchObject({ state: OperationState.CANCELLED });
    await expect(call(c.volume, c.volume.ensureVolume, volume('volume-3', 'job-1.late'))).rejects.toMatchObject({
      reason: 'CANCELLED',
    });
    await call(c.operation, c.operation.acknowledgeOperations, { fence: fence(), idPrefixes: ['job-1.'] });
    await call(c.volume, c.volume.ensureVolume, volume('volume-3', 'job-1.late'));
  });

  it('does not keep a refusal that may pass', async () => {
    let down = true;
    const w = await startWorld((d): Drivers => ({
      ...d,
      disks: {
        ...d.disks,
        ensureVolume: (v) => (down ? Promise.reject(new ClusterError('DISK_FULL', 'full')) : d.disks.ensureVolume(v)),
      },
    }));
    const c = w.clients;
    await expect(call(c.volume, c.volume.ensureVolume, volume('volume-1', 'job-1.v'))).rejects.toMatchObject({
      reason: 'DISK_FULL',
    });
    down = false;
    expect(await call(c.volume, c.volume.ensureVolume, volume('volume-1', 'job-1.v'))).toMatchObject({
      state: OperationState.SUCCEEDED,
    });
  });
});

describe('uploads and images', () => {
  const RAW = Buffer.alloc(1 << 20);
  RAW.set([0x55, 0xaa], 510); // a boot sector
  const send = (c: Clients, uploadId: string, bytes: Buffer, announced = bytes.length) =>
    new Promise<bigint>((resolve, reject) => {
      const stream = c.image.upload((e, a) =>
        e ? reject(fromStatus(e, 'HOST_UNREACHABLE', 'the agent')) : resolve(a.receivedBytes),
      );
      const put = (message: UploadRequest['message']) => stream.write({ message });
      put({ $case: 'begin', value: { fence: fence(), uploadId, fileBytes: BigInt(announced), allocatedBytes: 0n } });
      for (let at = 0; at < bytes.length; at += 256 * 1024)
        put({ $case: 'data', value: bytes.subarray(at, at + 256 * 1024) });
      stream.end();
    });
  const ended = (c: Clients, id: string) =>
    until('the operation ends', async () => {
      const o = await call(c.operation, c.operation.getOperation, { operationId: id });
      return o.state === OperationState.RUNNING ? undefined : o;
    });

  it('finishes an import that had installed its image when the agent died, and only then forgets the upload', async () => {
    let died = (): void => undefined;
    const installed = new Promise<void>((resolve) => (died = resolve));
    let calls = 0;
    const world = await startWorld((d) => ({
      ...d,
      disks: {
        ...d.disks,
        async importImage(...args) {
          const image = await d.disks.importImage(...args);
          if (++calls > 1) return image;
          died();
          return new Promise<never>((_, reject) => args[2].signal.addEventListener('abort', () => reject(new Error())));
        },
      },
    }));
    await send(world.clients, 'job-1.import', RAW);
    const wanted = { context: context('job-1.import'), uploadId: 'job-1.import', format: 'raw' };
    await call(world.clients.image, world.clients.image.importImage, wanted);
    await installed;
    expect(await world.drivers.disks.hasUpload('job-1.import')).toBe(true);
    await world.down();
    await world.up();
    const [image] = await world.drivers.disks.listImages();
    expect(await ended(world.clients, 'job-1.import')).toMatchObject({
      state: OperationState.SUCCEEDED,
      image: { digest: image?.digest },
    });
    expect(await world.drivers.disks.hasUpload('job-1.import')).toBe(false);
  });

  it('imports an upload, lets another host fetch it from here, and removes it', async () => {
    const ca = await makeCa();
    const [a, b] = [await startWorld(undefined, ca, 'host-1'), await startWorld(undefined, ca, 'host-2')];
    expect(await send(a.clients, 'job-1.import', RAW)).toBe(BigInt(RAW.length));
    const wanted = { context: context('job-1.import'), uploadId: 'job-1.import', format: 'raw' };
    await call(a.clients.image, a.clients.image.importImage, wanted);
    const { image } = await ended(a.clients, 'job-1.import');
    const digest = image?.digest ?? '';
    expect(await call(a.clients.image, a.clients.image.importImage, wanted)).toMatchObject({ image: { digest } });

    const watch = watchInto(b.clients);
    const fetchWanted = { context: context('job-2.fetch'), digest, virtualSizeBytes: image?.virtualSizeBytes ?? 0n };
    expect(await call(b.clients.image, b.clients.image.fetchImage, fetchWanted)).toMatchObject({
      state: OperationState.RUNNING,
    });
    await until('it asks for a source', () =>
      watch.seen.some((m) => m.message?.$case === 'operation' && m.message.value.needsSource),
    );
    const { image: from } = a.clients;
    const opened = await call(from, from.openExport, { fence: fence(), digest, peerHostId: 'host-2' });
    const offer = {
      fence: fence(),
      operationId: 'job-2.fetch',
      peerHostId: 'host-1',
      peerAddress: opened.address,
      ticket: opened.ticket,
    };
    await call(b.clients.image, b.clients.image.offerSource, offer);
    expect(await ended(b.clients, 'job-2.fetch')).toMatchObject({ state: OperationState.SUCCEEDED, image: { digest } });
    await until('the watch tells of the image', () =>
      watch.seen.some((m) => m.message?.$case === 'image' && m.message.value.digest === digest),
    );
    expect(
      await call(b.clients.image, b.clients.image.removeImage, { context: context('job-3.remove'), digest }),
    ).toMatchObject({ state: OperationState.SUCCEEDED });
  });

  it('cancels a fetch that waits for a source', async () => {
    const w = await startWorld();
    const c = w.clients;
    const digest = `sha256:${'ab'.repeat(32)}`;
    await call(c.image, c.image.fetchImage, { context: context('job-1.fetch'), digest, virtualSizeBytes: 1024n });
    expect(
      await call(c.operation, c.operation.cancelOperation, { fence: fence(), operationId: 'job-1.fetch' }),
    ).toMatchObject({ state: OperationState.CANCELLED });
    await expect(
      call(c.image, c.image.fetchImage, { context: context('job-1.fetch'), digest, virtualSizeBytes: 1024n }),
    ).rejects.toMatchObject({ reason: 'CANCELLED' });
  });

  it('takes a fetch up again after a restart', async () => {
    const w = await startWorld();
    const digest = `sha256:${'ab'.repeat(32)}`;
    await call(w.clients.image, w.clients.image.fetchImage, {
      context: context('job-1.fetch'),
      digest,
      virtualSizeBytes: 1024n,
    });
    await w.down();
    // before it starts: the fetch is taken up at once, and asks nobody when the image is there
    w.drivers.sim.images.set(digest, { digest, virtualSizeBytes: 1024, fileBytes: 10 });
    await w.up();
    expect(await ended(w.clients, 'job-1.fetch')).toMatchObject({ state: OperationState.SUCCEEDED, image: { digest } });
  });

  it('keeps nothing of an upload that is broken off, too short, too long or a path', async () => {
    const w = await startWorld();
    const c = w.clients;
    await expect(send(c, 'job-1.short', RAW, RAW.length + 1)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await expect(send(c, 'job-1.long', RAW, 10)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await expect(send(c, '../../etc/passwd', RAW)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    const stream = c.image.upload(() => undefined);
    stream.write({
      message: {
        $case: 'begin',
        value: { fence: fence(), uploadId: 'job-1.gone', fileBytes: 100n, allocatedBytes: 0n },
      },
    });
    stream.write({ message: { $case: 'data', value: Buffer.from('ten bytes!') } });
    stream.cancel();
    await send(c, 'job-1.whole', RAW);
    expect([...w.drivers.sim.uploads.keys()]).toEqual(['job-1.whole']);
    await call(c.operation, c.operation.acknowledgeOperations, { fence: fence(), idPrefixes: ['job-1.'] });
    expect(w.drivers.sim.uploads.size).toBe(0);
  });

  it.each([
    ['of no length', 0n],
    ['longer than the file', 2n ** 40n],
    ['longer than any file', 2n ** 63n],
  ])('keeps nothing of an upload with a run of zeros %s', async (_, zeros) => {
    const w = await startWorld();
    const c = w.clients;
    const answer = new Promise<void>((resolve, reject) => {
      const stream = c.image.upload((e) => (e ? reject(fromStatus(e, 'HOST_UNREACHABLE', 'the agent')) : resolve()));
      const value = { fence: fence(), uploadId: 'job-1.zeros', fileBytes: 100n, allocatedBytes: 10n };
      stream.write({ message: { $case: 'begin', value } });
      stream.write({ message: { $case: 'zeros', value: zeros } });
      stream.end();
    });
    await expect(answer).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    expect(w.drivers.sim.uploads.size).toBe(0);
  });

  it('tells what is wrong with a file that is no image, and drops it', async () => {
    const w = await startWorld();
    const c = w.clients;
    await send(c, 'job-1.up', Buffer.from('just a note\n'.repeat(100)));
    await call(c.image, c.image.importImage, { context: context('job-1.import'), uploadId: 'job-1.up', format: '' });
    expect(await ended(c, 'job-1.import')).toMatchObject({ state: OperationState.FAILED, errorReason: 'UNSAFE_IMAGE' });
    expect(w.drivers.sim.uploads.size).toBe(0);
  });
});

describe('a watch', () => {
  it('begins with a whole snapshot, then tells changes, statistics and that it lives', async () => {
    const w = await startWorld();
    await defineWeb(w.clients);
    const { seen, cases } = watchInto(w.clients);
    await until('the snapshot', () => cases().includes('end'));
    const snapshot = cases().slice(0, cases().indexOf('end') + 1);
    expect(snapshot[0]).toBe('begin');
    expect(new Set(snapshot)).toEqual(new Set(['begin', 'host', 'domain', 'volume', 'bridge', 'operation', 'end']));
    const end = seen.find((m) => m.message?.$case === 'end');
    expect(end?.message?.value).toMatchObject({
      sources: { complete: ['domains', 'volumes', 'images', 'bridges', 'pools', 'networks'] },
    });
    await call(w.clients.domain, w.clients.domain.startDomain, { context: context('job-2.start'), ...ref });
    await until('the start', () =>
      seen.some(
        (m) =>
          m.message?.$case === 'domain' &&
          m.message.value.power === DomainPower.RUNNING &&
          m.message.value.vmId === 'vm-1',
      ),
    );
    await until('a heartbeat and statistics', () => cases().includes('statistics'));
    expect(seen.map((m) => m.seq)).toEqual(seen.map((_, i) => BigInt(i + 1)));
  });

  it('keeps another run of the controller away while it is open, and gives way to a higher epoch', async () => {
    const w = await startWorld();
    const first = watchInto(w.clients);
    await until('the snapshot', () => first.cases().includes('end'));
    const second = watchInto(w.clients, { runId: 'run-2' });
    expect(fromStatus(await until('a refusal', second.failure), 'HOST_UNREACHABLE', '')).toMatchObject({
      reason: 'WRONG_CONTROLLER',
    });
    const third = watchInto(w.clients, { runId: 'run-3', controllerEpoch: 2n });
    await until('the takeover', () => third.cases().includes('end'));
    expect(fromStatus(await until('the first is told', first.failure), 'HOST_UNREACHABLE', '')).toMatchObject({
      reason: 'WRONG_CONTROLLER',
    });
  });

  it('tells when libvirt goes and comes back', async () => {
    let broken = false;
    const w = await startWorld((d): Drivers => ({
      ...d,
      hypervisor: {
        ...d.hypervisor,
        list: () => (broken ? Promise.reject(new ClusterError('HYPERVISOR_UNAVAILABLE', 'gone')) : d.hypervisor.list()),
      },
    }));
    broken = true;
    const { seen, cases } = watchInto(w.clients);
    await until('the snapshot', () => cases().includes('end'));
    expect(seen.find((m) => m.message?.$case === 'end')?.message?.value).toMatchObject({
      sources: { complete: ['volumes', 'images', 'bridges', 'pools', 'networks'] },
    });
  });

  it('ends with the agent, which the caller can tell from a refusal', async () => {
    const w = await startWorld();
    const { cases, failure } = watchInto(w.clients);
    await until('the snapshot', () => cases().includes('end'));
    await w.down();
    expect(fromStatus(await until('the end', failure), 'HOST_UNREACHABLE', 'a').reason).toBe('HOST_UNREACHABLE');
  });
});
