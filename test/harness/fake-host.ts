/**
 * One host in memory as jobs see it: an adversarial AgentClient. It keeps the agent's promises (an operation id is done once,
 * a cancelled one leaves a tombstone, absent is fine) and is otherwise as awkward as a host may be: operations answer at once
 * or run for a while, take effect early or late, and calls get lost before or after they worked. Not a model of libvirt.
 */
import type { PoolUnit } from '@berth/shared/model/pool.ts';
import type { Readable } from 'node:stream';
import type {
  AgentClient,
  CustomizeWanted,
  DomainDescription,
  DomainRef,
  LiveChange,
  OperationView,
  SeedWanted,
  VolumeWanted,
} from '@berth/controller/hosts/agent-client.ts';
import {
  fakeNetworks,
  fakePools,
  noLogs,
  noMachine,
  unasked,
  type FakeNetworks,
  type FakePools,
  type FakeDomain,
  type FakeVolume,
} from './fake-host-parts.ts';
import { fakeUploads } from './fake-uploads.ts';
import { fakeSnapshots, type FakeSnapshot } from './fake-snapshots.ts';
import { fakeVolumes } from './fake-volumes.ts';
import { FakeLedger } from './fake-ledger.ts';
import { fetches, view } from './fake-operation.ts';
import { bytesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { DomainDefinition } from '@berth/shared/hardware/domain.ts';
import type { VmPower } from '@berth/shared/model/vm.ts';

export class FakeHost extends FakeLedger implements AgentClient {
  /** Nothing is asked of the machine by jobs. */
  readonly machine = noMachine;
  ensureTuning = async (): Promise<OperationView> => unasked();
  readonly logs = noLogs;
  readonly volumeData = fakeVolumes(this, (id, what, effect) => this.operate(id, what, effect));
  readonly uploaded = fakeUploads(
    this,
    (id, what, effect) => this.operate(id, what, effect),
    (f) => this.call(f),
    (id) => this.operations.has(id),
  );
  readonly poolsHere: FakePools = new Map();
  /** That all its pools tell of. */
  readonly units: PoolUnit[] = [];
  readonly networksHere: FakeNetworks = new Map();
  readonly networks = fakeNetworks(this.networksHere, (id, what, effect) => this.operate(id, what, effect));
  readonly pools = fakePools(this.poolsHere, (id, what, effect) => this.operate(id, what, effect));
  /** Of its domains, by UUID and name: how they were. */
  readonly snapshotsHere = new Map<string, FakeSnapshot>();
  readonly snapshots = fakeSnapshots(this, (id, what, effect) => this.operate(id, what, effect));
  /** What was last done to the guest on a volume, from outside. */
  readonly customized = new Map<string, CustomizeWanted['actions']>();
  /** The controller has a connection to it, and has been paid what it owed. */
  connected = true;
  diskFull = false;
  /** Copies that have a source go on for ever. */
  endless = false;
  /** Beside those that all have. */
  capabilities: readonly string[] = [];
  /** Guests ignore the power button. */
  deaf = false;
  readonly domains = new Map<string, FakeDomain>();
  readonly volumes = new Map<string, FakeVolume>();
  readonly uploads = new Map<string, string>();
  /** How often guests were seen to reset, by UUID. */
  readonly resets = new Map<string, number>();
  /** Chords that guests got. */
  readonly typed: string[] = [];
  /** What was changed of guests that run, by guest and part. */
  live = new Map<string, string>();
  /** Guests take on nothing while they run. */
  refusesLive = false;
  /** None is removed. */
  keepsVolumes = false;

  /** All that must be as before when a job was undone. */
  contents(): unknown {
    const sorted = <V>(m: Map<string, V>): [string, V][] => [...m].sort(([a], [b]) => (a < b ? -1 : 1));
    return structuredClone({
      domains: sorted(this.domains),
      volumes: sorted(this.volumes),
      images: sorted(this.images),
      uploads: sorted(this.uploads),
      ...(this.poolsHere.size > 0 && { pools: sorted(this.poolsHere) }),
      ...(this.networksHere.size > 0 && { networks: sorted(this.networksHere) }),
      ...(this.snapshotsHere.size > 0 && { snapshots: [...this.snapshotsHere.keys()].sort() }),
      running: [...this.operations.values()].filter((o) => o.state === 'running').map((o) => o.id),
    });
  }

  /** Off and on again: guests are off, operations go on where they were. */
  reboot(): void {
    for (const [uuid, d] of this.domains) if (d.power !== 'stopped') this.power(uuid, 'stopped');
  }

  power(uuid: string, power: VmPower, reason = ''): void {
    const domain = this.domains.get(uuid);
    if (!domain || (domain.power === power && (domain.reason ?? '') === reason)) return;
    this.domains.set(uuid, { wanted: domain.wanted, power, ...(reason === '' ? {} : { reason }) });
    this.cluster.changed(this, { vmId: domain.wanted.vmId });
  }

  async describeDomain({ uuid }: DomainRef): Promise<DomainDescription> {
    const domain = this.domains.get(uuid);
    if (!domain) throw new ClusterError('NOT_FOUND', `domain ${uuid} does not exist`);
    return { wanted: domain.wanted, volumes: new Map(), changes: [] };
  }

  ensureDomain(operationId: string, spec: DomainDefinition): Promise<OperationView> {
    return this.operate(operationId, ['ensureDomain', spec], () => {
      const volumes = [...spec.disks.map((d) => d.volumeId), ...(spec.seedVolumeId ? [spec.seedVolumeId] : [])];
      const missing = volumes.find((v) => !this.volumes.has(v));
      if (missing) throw new ClusterError('NOT_FOUND', `volume ${missing} does not exist`);
      this.domains.set(spec.uuid, { power: 'stopped', ...this.domains.get(spec.uuid), wanted: spec });
      this.cluster.changed(this, { vmId: spec.vmId });
    });
  }

  startDomain(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['startDomain', domain], () => {
      if (!this.domains.has(domain.uuid)) throw new ClusterError('NOT_FOUND', `domain ${domain.uuid} does not exist`);
      this.power(domain.uuid, 'running');
    });
  }

  shutdownDomain(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['shutdownDomain', domain], () => {
      if (!this.deaf) this.cluster.later(() => this.power(domain.uuid, 'stopped'));
    });
  }

  forceOffDomain(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['forceOffDomain', domain], () => this.power(domain.uuid, 'stopped'));
  }

  rebootDomain(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['rebootDomain', domain], () => {
      this.#needOn(domain);
      if (!this.deaf) this.cluster.later(() => this.#reset(domain));
    });
  }

  resetDomain(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['resetDomain', domain], () => {
      this.#needOn(domain);
      this.#reset(domain);
    });
  }

  /** Guests have no agents. */
  askGuestPower(operationId: string, domain: DomainRef, action: 'shutdown' | 'reboot'): Promise<OperationView> {
    return this.operate(operationId, ['askGuestPower', domain, action], () => {
      throw new ClusterError('BAD_STATE', 'no guest agent answers');
    });
  }

  #reset({ uuid, vmId }: DomainRef): void {
    const power = this.domains.get(uuid)?.power;
    if (power !== 'running' && power !== 'paused') return;
    this.resets.set(uuid, (this.resets.get(uuid) ?? 0) + 1);
    this.cluster.changed(this, { vmId });
  }

  suspendDomain(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['suspendDomain', domain], () => {
      this.#needOn(domain);
      this.power(domain.uuid, 'paused');
    });
  }

  resumeDomain(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['resumeDomain', domain], () => {
      this.#needOn(domain);
      this.power(domain.uuid, 'running');
    });
  }

  saveDomain(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['saveDomain', domain], () => {
      if (this.domains.get(domain.uuid)?.power === 'stopped') return;
      this.#needOn(domain);
      this.power(domain.uuid, 'stopped', 'saved');
    });
  }

  discardSaved(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['discardSaved', domain], () =>
      this.power(domain.uuid, this.domains.get(domain.uuid)?.power ?? 'stopped'),
    );
  }

  injectNmi(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['injectNmi', domain], () => this.#needOn(domain));
  }

  sendKeys(operationId: string, v: DomainRef & { chords: readonly (readonly number[])[] }): Promise<OperationView> {
    return this.operate(operationId, ['sendKeys', v], () => {
      this.#needOn(v);
      this.typed.push(...v.chords.map((codes) => codes.join('-')));
    });
  }

  /** What a guest runs with is what was changed last; a start takes what is wanted. */
  changeLive(operationId: string, domain: DomainRef, change: LiveChange): Promise<OperationView> {
    return this.operate(operationId, ['changeLive', domain, change], () => {
      this.#needOn(domain);
      if (this.refusesLive) throw new ClusterError('BAD_STATE', 'the guest will not have it');
      const what = 'target' in change ? change.target : 'mac' in change ? change.mac : Object.keys(change)[0];
      this.live.set(`${domain.uuid} ${what}`, Object.values(change).join(' '));
    });
  }

  async *takeScreenshot(): AsyncIterable<Uint8Array> {}

  removeDomain(operationId: string, domain: DomainRef): Promise<OperationView> {
    return this.operate(operationId, ['removeDomain', domain], () => {
      if (['running', 'paused'].includes(this.domains.get(domain.uuid)?.power ?? ''))
        throw new ClusterError('BAD_STATE', 'the domain runs');
      this.domains.delete(domain.uuid);
      for (const key of this.snapshotsHere.keys())
        if (key.startsWith(`${domain.uuid}/`)) this.snapshotsHere.delete(key);
      this.cluster.changed(this, { vmId: domain.vmId });
    });
  }

  ensureVolume(operationId: string, v: VolumeWanted): Promise<OperationView> {
    return this.operate(operationId, ['ensureVolume', v], () => {
      if (this.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
      const own = v.poolId === undefined || !this.poolsHere.has(`${v.poolId}/${v.imageDigest}`);
      if (v.imageDigest !== undefined && own && !this.images.has(v.imageDigest)) {
        const comes = v.instant === true && fetches(this.operations.values(), v.imageDigest);
        if (v.instant === true && !comes)
          throw new ClusterError('PEER_UNAVAILABLE', `image ${v.imageDigest} is not being copied to ${this.name}`);
        if (!comes) throw new ClusterError('NOT_FOUND', `image ${v.imageDigest} is not on ${this.name}`);
      }
      const { vmId, sizeBytes } = v;
      const imageDigest = v.full === true ? undefined : v.imageDigest;
      this.volumes.set(v.volumeId, { vmId, sizeBytes, imageDigest, seed: false });
    });
  }

  ensureSeed(operationId: string, v: { volumeId: string; vmId: string; seed: SeedWanted }): Promise<OperationView> {
    return this.operate(operationId, ['ensureSeed', v], () => {
      if (this.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
      this.volumes.set(v.volumeId, { vmId: v.vmId, sizeBytes: 0, imageDigest: undefined, seed: true });
    });
  }

  customizeVolume(operationId: string, v: CustomizeWanted): Promise<OperationView> {
    return this.operate(operationId, ['customizeVolume', v], () => {
      if (!this.volumes.has(v.volumeId)) throw new ClusterError('NOT_FOUND', `volume ${v.volumeId} is not there`);
      if (['running', 'paused'].includes(this.domains.get(v.domainUuid)?.power ?? ''))
        throw new ClusterError('IN_USE', 'a domain that runs has it');
      this.customized.set(v.volumeId, v.actions);
    });
  }

  removeVolume(operationId: string, volumeId: string): Promise<OperationView> {
    return this.operate(operationId, ['removeVolume', volumeId], () => {
      const users = [...this.domains.values()].filter((d) => d.wanted.disks.some((x) => x.volumeId === volumeId));
      if (users.some((d) => d.power === 'running' || d.power === 'paused'))
        throw new ClusterError('IN_USE', 'a domain that runs has it');
      if (this.keepsVolumes && this.volumes.has(volumeId)) throw new ClusterError('IN_USE', 'somebody reads it');
      this.volumes.delete(volumeId);
    });
  }

  captureDisks(
    operationId: string,
    domain: DomainRef,
    disks: readonly { target: string; volumeId: string; uploadId: string }[],
    snapshot?: string,
  ): Promise<OperationView> {
    return this.operate(operationId, ['captureDisks', domain, disks, snapshot], () => {
      if (this.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
      for (const d of disks) {
        if (!this.volumes.has(d.volumeId)) throw new ClusterError('NOT_FOUND', `there is no disk ${d.volumeId}`);
        this.uploads.set(d.uploadId, `disk ${d.volumeId}`);
      }
      const now = this.domains.get(domain.uuid)?.power === 'running' ? 'crash-consistent' : 'stopped';
      const detail = snapshot === undefined ? now : 'snapshot';
      return { digest: '', virtualSizeBytes: 0, fileBytes: 0, sourceDigest: '', detail };
    });
  }

  generalizeUpload(operationId: string, uploadId: string): Promise<OperationView> {
    return this.operate(operationId, ['generalizeUpload', uploadId], () => {
      if (!this.uploads.has(uploadId)) throw new ClusterError('NOT_FOUND', `there is no copy ${uploadId}`);
      this.uploads.set(uploadId, `${this.uploads.get(uploadId)!.replace(/ without identity$/, '')} without identity`);
    });
  }

  makeExport(operationId: string, v: { digest: string; format: string; exportId: string }): Promise<OperationView> {
    return this.operate(operationId, ['makeExport', v], () => {
      const image = this.images.get(v.digest);
      if (!image) throw new ClusterError('NOT_FOUND', 'the image is not there');
      this.uploads.set(v.exportId, `file of ${v.digest}`);
      return { ...image, fileBytes: `file of ${v.digest}`.length, digest: v.digest, sourceDigest: 'sum' };
    });
  }

  async *readExport(v: { exportId: string; offset: number }): AsyncIterable<Piece> {
    const file = this.uploads.get(v.exportId);
    if (file === undefined) throw new ClusterError('NOT_FOUND', 'the file is not there');
    yield Buffer.from(file).subarray(v.offset);
  }

  importImage(operationId: string, v: { uploadId: string; format: string }): Promise<OperationView> {
    return this.operate(operationId, ['importImage', v], () => {
      const text = this.uploads.get(v.uploadId);
      if (text === undefined) throw new ClusterError('NOT_FOUND', 'the upload is not there');
      if (text === 'text') throw new ClusterError('UNSAFE_IMAGE', 'it looks like text');
      const digest = `sha256:${text}`;
      this.uploads.delete(v.uploadId);
      this.images.set(digest, { virtualSizeBytes: 2 ** 30, fileBytes: 2 ** 24 });
      return { digest, virtualSizeBytes: 2 ** 30, fileBytes: 2 ** 24, sourceDigest: text };
    });
  }

  async fetchImage(operationId: string, v: { digest: string; virtualSizeBytes: number }): Promise<OperationView> {
    return this.operate(operationId, ['fetchImage', v], () => {
      if (this.diskFull) throw new ClusterError('DISK_FULL', 'the pool is full');
      const peer = this.operations.get(operationId)?.peer;
      if (peer !== undefined && this.cluster.peer(peer)?.servesGarbage)
        throw new ClusterError('DIGEST_MISMATCH', 'what arrived is something else');
      const image = { virtualSizeBytes: v.virtualSizeBytes, fileBytes: 2 ** 24 };
      this.images.set(v.digest, image);
      return { ...image, digest: v.digest, sourceDigest: '' };
    });
  }

  removeImage(operationId: string, digest: string): Promise<OperationView> {
    return this.operate(operationId, ['removeImage', digest], () => {
      if ([...this.volumes.values()].some((x) => x.imageDigest === digest))
        throw new ClusterError('IN_USE', 'a volume here is based on it');
      this.images.delete(digest);
    });
  }

  ensureBridge(operationId: string, v: { name: string; addresses: readonly string[] }): Promise<OperationView> {
    return this.operate(operationId, ['ensureBridge', v], () => undefined);
  }

  removeBridge(operationId: string, name: string): Promise<OperationView> {
    return this.operate(operationId, ['removeBridge', name], () => undefined);
  }

  offerSource(v: { operationId: string; peerHostId: string; peerAddress: string; ticket: string }): Promise<void> {
    return this.call(() => {
      const op = this.operations.get(v.operationId);
      if (!op) throw new ClusterError('NOT_FOUND', 'no such operation');
      if (!op.needsSource || !this.cluster.peer(v.peerHostId)?.redeem(v.ticket)) return;
      op.needsSource = false;
      op.peer = v.peerHostId;
      if (!this.endless) this.run(op);
    });
  }

  openExport(v: { digest: string; peerHostId: string }): Promise<{ ticket: string; address: string }> {
    return this.call(() => {
      if (!this.images.has(v.digest) && !fetches(this.operations.values(), v.digest))
        throw new ClusterError('NOT_FOUND', 'the image is not here');
      const ticket = `ticket-${this.cluster.random()}`;
      this.tickets.add(ticket);
      return { ticket, address: `${this.name}:7445` };
    });
  }

  /** A ticket opens once. */
  findOperation(operationId: string): Promise<OperationView | undefined> {
    return this.call(() => {
      const op = this.operations.get(operationId);
      return op && view(this.cluster.timed ? op : this.look(op));
    });
  }

  cancelOperation(operationId: string): Promise<OperationView> {
    return this.call(() => {
      for (const id of this.uploads.keys()) if (`${id}.`.startsWith(`${operationId}.`)) this.uploads.delete(id);
      const op = this.operations.get(operationId) ?? this.record(operationId, 'unknown');
      if (op.state === 'running') op.state = 'cancelled';
      return view(op);
    });
  }

  acknowledgeOperations(idPrefixes: readonly string[]): Promise<void> {
    return this.call(() => {
      for (const id of this.operations.keys()) if (idPrefixes.some((p) => id.startsWith(p))) this.operations.delete(id);
      for (const id of this.uploads.keys()) if (idPrefixes.some((p) => id.startsWith(p))) this.uploads.delete(id);
    });
  }

  async upload(v: { uploadId: string }, data: Readable): Promise<number> {
    const chunks: Uint8Array[] = [];
    for await (const bytes of bytesOf(data as AsyncIterable<Piece>)) chunks.push(bytes);
    const all = Buffer.concat(chunks);
    return this.call(() => {
      if (this.operations.has(v.uploadId)) throw new ClusterError('CANCELLED', `upload ${v.uploadId} was cancelled`);
      this.uploads.set(v.uploadId, all.toString());
      return all.length;
    });
  }

  async *readSerialLog(): AsyncIterable<never> {}

  openConsole(): never {
    throw new ClusterError('UNSUPPORTED', 'fake hosts have no console');
  }

  openDisplay(): never {
    throw new ClusterError('UNSUPPORTED', 'fake hosts have no display');
  }

  #needOn({ uuid }: DomainRef): void {
    const power = this.domains.get(uuid)?.power;
    if (power !== 'running' && power !== 'paused') throw new ClusterError('BAD_STATE', `the domain is ${power}`);
  }
}
