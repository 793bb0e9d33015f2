/** Worlds for the job harness: three hosts, an image on the first, and perhaps a VM. Data and fakes; checks nothing. */
import type { Hosts } from '@berth/controller/hosts/hosts.ts';
import { makeJobDeps, type JobDeps } from '@berth/controller/jobs/deps.ts';
import { domainWanted } from '@berth/controller/jobs/wanted.ts';
import { Uploads } from '@berth/controller/jobs/uploads.ts';
import { claimOf, WorldView } from '@berth/controller/jobs/world.ts';
import { DEFAULT_POLICY } from '@berth/controller/scheduler/world.ts';
import { aHost, anImage, aVm } from '@berth/controller/state/samples.ts';
import type { State, Tx } from '@berth/controller/state/state.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Image } from '@berth/shared/model/image.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Volume } from '@berth/shared/model/volume.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { FakeHost } from './fake-host.ts';
import { FakeHosts } from './fake-hosts.ts';
import type { Adversary } from './job-harness.ts';

const host = (name: string): Host => aHost({ name, address: `${name}:7444`, labels: {} });

export class ClusterWorld {
  readonly hosts: readonly [Host, Host, Host];
  readonly image: Image;
  readonly fakes: FakeHosts;
  /** Called when a job asks what has arrived of an upload; a controller that died has forgotten what it relayed. */
  onAsked: (state: State, uploads: Uploads) => void = () => undefined;

  constructor(private readonly adversary: Adversary) {
    this.hosts = [host('h1'), host('h2'), host('h3')];
    this.image = anImage({ name: 'base', digest: 'sha256:base' });
    this.fakes = new FakeHosts({ clock: systemClock, random: () => adversary.pick(97) / 97, timed: false });
    for (const host of this.hosts) this.fakes.add(host.id, host.name);
    this.fake(0).images.set('sha256:base', { virtualSizeBytes: 2 ** 30, fileBytes: 2 ** 24 });
  }

  fake(i: 0 | 1 | 2): FakeHost {
    return this.fakes.host(this.hosts[i].id);
  }

  seed(tx: Tx): void {
    for (const host of this.hosts) tx.hosts.put(host);
    tx.images.put(this.image);
    tx.imageCopies.put({ imageId: this.image.id, hostId: this.hosts[0].id, fileBytes: 2 ** 24 });
  }

  /** A VM that is being made: its row is there, nothing else. */
  vmToMake(withImage: boolean): Vm {
    const vm = aVm({
      name: 'web',
      mac: '52:54:00:00:00:01',
      phase: 'creating',
      imageId: withImage ? this.image.id : undefined,
    });
    const nics = vm.spec.nics.map((n) => ({ ...n, bridge: 'br0' }));
    return { ...vm, hostId: undefined, spec: { ...vm.spec, nics } };
  }

  /** A VM on the first host, with its disks, domain and claim. */
  vmThere(power: 'running' | 'paused' | 'stopped'): { vm: Vm; put: (tx: Tx) => void } {
    const on = power !== 'stopped';
    const vm: Vm = {
      ...this.vmToMake(true),
      phase: 'ready',
      hostId: this.hosts[0].id,
      desiredPower: on ? 'on' : 'off',
    };
    const host = this.fake(0);
    for (const d of vm.spec.disks)
      host.volumes.set(d.volumeId, { vmId: vm.id, sizeBytes: d.sizeBytes, imageDigest: 'sha256:base', seed: false });
    const seedId = vm.spec.seedVolumeId;
    if (seedId) host.volumes.set(seedId, { vmId: vm.id, sizeBytes: 0, imageDigest: undefined, seed: true });
    host.domains.set(vm.uuid, {
      wanted: domainWanted({ images: new Map([[this.image.id, this.image]]), clusters: new Map() }, vm),
      power: 'stopped',
    });
    if (on) host.power(vm.uuid, power);
    const put = (tx: Tx): void => {
      tx.vms.put(vm);
      tx.claims.put(claimOf(vm, this.hosts[0].id, on));
    };
    return { vm, put };
  }

  /** The same, with all that can be other in it: some at once, some at its next start. */
  vmToUpdate(power: 'running' | 'stopped'): { vm: Vm; put: (tx: Tx) => void } {
    const { vm: made } = this.vmThere(power);
    const hardware = { maxVcpus: 4, maxMemoryBytes: 4 * made.spec.memoryBytes };
    const drive = { target: 'sda', bus: 'sata', imageId: undefined } as const;
    const had = { ...made.spec, hardware, cdroms: [drive] };
    const disk = { target: 'vdb', volumeId: newId('volume', 1), sizeBytes: 2 ** 30, imageId: undefined };
    const spec = {
      ...had,
      ...{ vcpus: 3, memoryBytes: made.spec.memoryBytes / 2, disks: [...had.disks, disk] },
      ...{ hardware: { ...hardware, machine: 'pc' }, cdroms: [{ ...drive, imageId: this.image.id }] },
    };
    const vm: Vm = { ...made, spec, before: { spec: had } };
    const host = this.fake(0);
    const images = new Map([[this.image.id, this.image]]);
    host.domains.set(vm.uuid, {
      wanted: domainWanted({ images, clusters: new Map() }, { ...vm, spec: had }),
      power: 'stopped',
    });
    if (power === 'running') host.power(vm.uuid, power);
    const put = (tx: Tx): void => {
      tx.vms.put(vm);
      tx.claims.put(claimOf({ ...vm, spec: had }, this.hosts[0].id, power === 'running'));
    };
    return { vm, put };
  }

  volume(o: Pick<Volume, 'state' | 'hostId'> & { readonly withImage?: boolean }): Volume {
    const { withImage, ...rest } = o;
    const imageId = withImage === true ? this.image.id : undefined;
    const about = { name: 'data', sizeBytes: 2 ** 34, format: 'qcow2', labels: {}, createdAtMs: 1 } as const;
    return { id: newId('volume', 1_700_000_000_000), ...about, imageId, ...rest };
  }

  /** On the first host. */
  volumeThere(): Volume {
    const volume = this.volume({ state: 'ready', hostId: this.hosts[0].id });
    const { sizeBytes } = volume;
    this.fake(0).volumes.set(volume.id, { vmId: '', sizeBytes, imageDigest: undefined, seed: false });
    return volume;
  }

  deps(state: State, clock: Clock): JobDeps {
    const uploads = new Uploads(clock);
    const seen = uploads.seen.bind(uploads);
    uploads.seen = (imageId) => {
      this.onAsked(state, uploads);
      return seen(imageId);
    };
    const fakes = this.fakes;
    const hosts: Hosts = {
      status: (id) => fakes.status(id),
      view: (id) => fakes.view(id),
      vm: (id) => fakes.vm(id),
      has: () => undefined,
      guest: (id) => fakes.guest(id),
      guestClient: () => fakes.guestClient(),
      strays: () => [],
      vmStatistics: () => undefined,
      operation: (id) => fakes.operation(id),
      agent: (id) => this.adversary.agent(fakes.agent(id)),
      subscribe: () => () => undefined,
    };
    const world = new WorldView(state.tables, hosts, DEFAULT_POLICY);
    return makeJobDeps({ hosts, tables: state.tables, world, uploads });
  }

  contents(): unknown {
    return this.hosts.map((h) => this.fakes.host(h.id).contents());
  }
}
