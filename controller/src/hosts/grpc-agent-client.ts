/** AgentClient over gRPC: encode, call with the deadline of its class, decode. No decisions. */
import type { Readable } from 'node:stream';
import type { ServiceError } from '@grpc/grpc-js';
import { AdoptionServiceService as Adoption } from '@berth/proto/agent/v1/adopt.ts';
import { CaptureServiceService as Captures } from '@berth/proto/agent/v1/capture.ts';
import { CustomizeServiceService as Customize, GuestActions } from '@berth/proto/agent/v1/customize.ts';
import { ExportServiceService as Exports } from '@berth/proto/agent/v1/export.ts';
import { DomainServiceService as Domains } from '@berth/proto/agent/v1/domain.ts';
import { GuestPowerAction, GuestServiceService as Guests } from '@berth/proto/agent/v1/guest.ts';
import { HardwareServiceService as Hardware } from '@berth/proto/agent/v1/hardware.ts';
import { ImageServiceService as Images } from '@berth/proto/agent/v1/image.ts';
import { MachineServiceService as Machine } from '@berth/proto/agent/v1/machine.ts';
import { NetworkServiceService as Networks } from '@berth/proto/agent/v1/network.ts';
import { OperationServiceService as Operations, type Operation } from '@berth/proto/agent/v1/operation.ts';
import { PowerServiceService as Power } from '@berth/proto/agent/v1/power.ts';
import { VolumeServiceService as Volumes } from '@berth/proto/agent/v1/volume.ts';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { domainToWire, type DomainDefinition } from '@berth/shared/hardware/domain.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import type { Tuning } from '@berth/shared/model/tuning.ts';
import type {
  AgentClient,
  ConsolePiece,
  ConsoleWanted,
  CustomizeWanted,
  DomainDescription,
  DomainRef,
  LiveChange,
  LogPiece,
  MessageDuplex,
  OperationView,
  SeedWanted,
  VolumeWanted,
} from './agent-client.ts';
import { openConsole, openDisplay, readExport, readLog, readScreenshot, sendUpload } from './agent-streams.ts';
import type { Connection, Method } from './connection.ts';
import { toDescription, toOperation } from './decode.ts';
import type { FenceSource } from './fence.ts';
import { tame } from './limits.ts';
import { logClient } from './grpc-log-client.ts';
import { networkClient } from './grpc-network-client.ts';
import { poolClient } from './grpc-pool-client.ts';
import { machineClient } from './grpc-machine-client.ts';
import { uploadClient } from './grpc-upload-client.ts';
import { snapshotClient } from './grpc-snapshot-client.ts';
import { volumeClient } from './grpc-volume-client.ts';

const READ_MS = 10_000;
const CHANGE_MS = 60_000;
/** Starting a QEMU, or waiting for a long operation to end. */
const SLOW_MS = 180_000;

export interface AgentClientOptions {
  /** Name of the host, for messages. */
  readonly name: () => string;
  /** Undefined between two connections. */
  readonly connection: () => Connection | undefined;
  readonly fence: FenceSource;
  /** Told of each answer, before the caller. */
  readonly noted: (view: OperationView) => void;
  readonly expect: (operationId: string) => void;
  readonly acknowledged: (idPrefixes: readonly string[]) => void;
}

export class GrpcAgentClient implements AgentClient {
  readonly machine = machineClient((m, request, ms) => this.call(m, request, ms));
  readonly logs = logClient({
    connection: () => this.connected(),
    call: (m, request, ms) => this.call(m, request, ms),
    translate: (e) => this.translate(e),
  });

  readonly volumeData = volumeClient({
    change: (m, request, ms) => this.change(m, request, ms),
    context: (id) => this.context(id),
    fence: () => this.o.fence(),
    ask: (m, request) => this.call(m, request, CHANGE_MS),
  });
  readonly uploaded = uploadClient({
    change: (m, request) => this.change(m, request),
    context: (id) => this.context(id),
    fence: () => this.o.fence(),
    ask: (m, request) => this.call(m, request, CHANGE_MS),
    connection: () => this.connected(),
    translate: (e) => this.translate(e),
  });
  readonly snapshots = snapshotClient({
    change: (m, request, ms) => this.change(m, request, ms),
    context: (id) => this.context(id),
    ask: (m, request) => this.call(m, request, CHANGE_MS),
  });
  readonly pools = poolClient(
    (m, request) => this.change(m, request, SLOW_MS),
    (id) => this.context(id),
  );
  readonly networks = networkClient(
    (m, request) => this.change(m, request, SLOW_MS),
    (id) => this.context(id),
  );

  constructor(private readonly o: AgentClientOptions) {}

  ensureDomain(id: string, spec: DomainDefinition): Promise<OperationView> {
    return this.change(Domains.ensureDomain, { context: this.context(id), spec: domainToWire(spec) });
  }
  startDomain(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Domains.startDomain, { context: this.context(id), ...domain }, SLOW_MS);
  }
  shutdownDomain(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Domains.shutdownDomain, { context: this.context(id), ...domain });
  }
  forceOffDomain(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Domains.forceOffDomain, { context: this.context(id), ...domain });
  }
  removeDomain(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Domains.removeDomain, { context: this.context(id), ...domain });
  }
  rebootDomain(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Power.rebootDomain, { context: this.context(id), ...domain });
  }
  resetDomain(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Power.resetDomain, { context: this.context(id), ...domain });
  }
  suspendDomain(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Power.suspendDomain, { context: this.context(id), ...domain });
  }
  resumeDomain(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Power.resumeDomain, { context: this.context(id), ...domain });
  }
  saveDomain(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Power.saveDomain, { context: this.context(id), ...domain }, SLOW_MS);
  }
  discardSaved(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Power.discardSaved, { context: this.context(id), ...domain });
  }
  askGuestPower(id: string, domain: DomainRef, action: 'shutdown' | 'reboot'): Promise<OperationView> {
    const wanted = { shutdown: GuestPowerAction.SHUTDOWN, reboot: GuestPowerAction.REBOOT }[action];
    return this.change(Guests.askGuestPower, { context: this.context(id), ...domain, action: wanted });
  }
  injectNmi(id: string, domain: DomainRef): Promise<OperationView> {
    return this.change(Power.injectNmi, { context: this.context(id), ...domain });
  }
  sendKeys(id: string, v: DomainRef & { chords: readonly (readonly number[])[] }): Promise<OperationView> {
    const chords = v.chords.map((codes) => ({ codes: [...codes] }));
    return this.change(Power.sendKeys, { context: this.context(id), uuid: v.uuid, vmId: v.vmId, chords });
  }
  changeLive(id: string, domain: DomainRef, c: LiveChange): Promise<OperationView> {
    const about = { context: this.context(id), ...domain };
    if ('vcpus' in c) return this.change(Hardware.setVcpus, { ...about, ...c });
    if ('memoryBytes' in c) return this.change(Hardware.setMemory, { ...about, memoryBytes: BigInt(c.memoryBytes) });
    if ('mac' in c) return this.change(Hardware.setLink, { ...about, mac: c.mac, down: c.linkDown });
    return this.change(Hardware.changeMedium, { ...about, ...c, imageDigest: c.imageDigest ?? '' });
  }
  ensureVolume(id: string, v: VolumeWanted): Promise<OperationView> {
    return this.change(Volumes.ensureVolume, {
      context: this.context(id),
      volumeId: v.volumeId,
      vmId: v.vmId,
      imageDigest: v.imageDigest ?? '',
      sizeBytes: BigInt(v.sizeBytes),
      ...(v.format && { format: v.format }),
      ...(v.poolId && { poolId: v.poolId }),
      ...(v.instant === true && { instant: true }),
      ...(v.full === true && { full: true }),
    });
  }
  ensureSeed(id: string, v: { volumeId: string; vmId: string; seed: SeedWanted }): Promise<OperationView> {
    return this.change(Volumes.ensureSeed, {
      context: this.context(id),
      volumeId: v.volumeId,
      vmId: v.vmId,
      seed: toSeed(v.seed),
    });
  }
  customizeVolume(id: string, { volumeId, domainUuid, actions }: CustomizeWanted): Promise<OperationView> {
    const { nics = [], sshKeys = [], ...rest } = actions;
    return this.change(Customize.customizeVolume, {
      ...{ context: this.context(id), volumeId, domainUuid },
      actions: GuestActions.fromPartial({ ...rest, sshKeys: [...sshKeys], nics: nics.map(toSeedNic) }),
    });
  }
  removeVolume(id: string, volumeId: string): Promise<OperationView> {
    return this.change(Volumes.removeVolume, { context: this.context(id), volumeId });
  }
  captureDisks(
    id: string,
    domain: DomainRef,
    disks: readonly { target: string; volumeId: string; uploadId: string }[],
    snapshot?: string,
  ): Promise<OperationView> {
    const request = { context: this.context(id), ...domain, disks: [...disks], snapshot };
    return this.change(Captures.captureDisks, request);
  }
  generalizeUpload(id: string, uploadId: string): Promise<OperationView> {
    return this.change(Customize.generalizeUpload, { context: this.context(id), uploadId });
  }
  makeExport(id: string, v: { digest: string; format: string; exportId: string }): Promise<OperationView> {
    return this.change(Exports.makeExport, { context: this.context(id), ...v });
  }
  readExport(v: { exportId: string; offset: number }, signal: AbortSignal): AsyncIterable<Piece> {
    const request = { fence: this.o.fence(), exportId: v.exportId, offset: BigInt(v.offset) };
    return readExport(this.connected(), request, signal, (e) => this.translate(e));
  }
  importImage(id: string, v: { uploadId: string; format: string }): Promise<OperationView> {
    return this.change(Images.importImage, { context: this.context(id), ...v });
  }
  fetchImage(id: string, v: { digest: string; virtualSizeBytes: number }): Promise<OperationView> {
    return this.change(Images.fetchImage, {
      context: this.context(id),
      digest: v.digest,
      virtualSizeBytes: BigInt(v.virtualSizeBytes),
    });
  }
  removeImage(id: string, digest: string): Promise<OperationView> {
    return this.change(Images.removeImage, { context: this.context(id), digest });
  }
  ensureBridge(id: string, v: { name: string; addresses: readonly string[] }): Promise<OperationView> {
    return this.change(Networks.ensureBridge, {
      context: this.context(id),
      name: v.name,
      addresses: [...v.addresses],
    });
  }
  removeBridge(id: string, name: string): Promise<OperationView> {
    return this.change(Networks.removeBridge, { context: this.context(id), name });
  }

  ensureTuning(id: string, settings: Tuning): Promise<OperationView> {
    return this.change(Machine.ensureTuning, { context: this.context(id), settings: { ...settings } }, SLOW_MS);
  }

  async describeDomain(domain: DomainRef): Promise<DomainDescription> {
    return toDescription(await this.call(Adoption.describeDomain, domain, CHANGE_MS), this.o.name());
  }

  async offerSource(v: {
    operationId: string;
    peerHostId: string;
    peerAddress: string;
    ticket: string;
    replace?: boolean;
  }): Promise<void> {
    await this.call(Images.offerSource, { fence: this.o.fence(), ...v }, CHANGE_MS);
  }
  async openExport(v: { digest: string; peerHostId: string }): Promise<{ ticket: string; address: string }> {
    const { ticket, address } = await this.call(Images.openExport, { fence: this.o.fence(), ...v }, CHANGE_MS);
    return { ticket, address };
  }
  async findOperation(operationId: string): Promise<OperationView | undefined> {
    this.o.expect(operationId);
    try {
      return this.note(await this.call(Operations.getOperation, { operationId }, READ_MS));
    } catch (e) {
      if (isClusterError(e, 'NOT_FOUND')) return undefined;
      throw e;
    }
  }
  async cancelOperation(operationId: string): Promise<OperationView> {
    const request = { fence: this.o.fence(), operationId };
    return this.note(await this.call(Operations.cancelOperation, request, SLOW_MS));
  }
  async acknowledgeOperations(idPrefixes: readonly string[]): Promise<void> {
    const request = { fence: this.o.fence(), idPrefixes: [...idPrefixes] };
    await this.call(Operations.acknowledgeOperations, request, CHANGE_MS);
    this.o.acknowledged(idPrefixes);
  }

  async upload(v: { uploadId: string; fileBytes: number; allocatedBytes: number }, data: Readable): Promise<number> {
    const [fileBytes, allocatedBytes] = [BigInt(v.fileBytes), BigInt(v.allocatedBytes)];
    const begin = { fence: this.o.fence(), uploadId: v.uploadId, fileBytes, allocatedBytes };
    return sendUpload(this.connected(), begin, data, this.translate);
  }
  async *readSerialLog(
    v: { vmId: string; tailBytes: number; follow: boolean; from: string | undefined },
    signal: AbortSignal,
  ): AsyncIterable<LogPiece> {
    yield* readLog(this.connected(), { ...v, tailBytes: BigInt(v.tailBytes) }, signal, this.translate);
  }
  async *takeScreenshot({ uuid, vmId }: DomainRef, signal: AbortSignal): AsyncIterable<Uint8Array> {
    yield* readScreenshot(this.connected(), { uuid, vmId }, signal, this.translate);
  }
  openConsole({ uuid, vmId, force, session, from }: DomainRef & ConsoleWanted): MessageDuplex<ConsolePiece> {
    return openConsole(this.connected(), { uuid, vmId, force, session, from }, this.translate);
  }
  openDisplay({ uuid, vmId, kind }: DomainRef & { kind: 'vnc' | 'spice' }): MessageDuplex<{ data: Uint8Array }> {
    return openDisplay(this.connected(), { uuid, vmId, kind }, this.translate);
  }

  private connected(): Connection {
    const connection = this.o.connection();
    if (connection) return connection;
    throw new ClusterError('HOST_UNREACHABLE', `host ${this.o.name()} is not connected`, { phase: 'before' });
  }

  private context(operationId: string) {
    this.o.expect(operationId);
    return { fence: this.o.fence(), operationId };
  }

  private async change<Req>(m: Method<Req, Operation>, request: Req, ms = CHANGE_MS): Promise<OperationView> {
    return this.note(await this.call(m, request, ms));
  }

  private async call<Req, Res>(m: Method<Req, Res>, request: Req, timeoutMs: number): Promise<Res> {
    try {
      return await this.connected().unary(m, request, timeoutMs);
    } catch (e) {
      throw this.translate(e);
    }
  }

  private note(o: Operation): OperationView {
    const view = toOperation(o);
    this.o.noted(view);
    return view;
  }

  private readonly translate = (e: unknown): Error => {
    if (isClusterError(e)) return e;
    return fromStatus(tame(e as ServiceError), 'HOST_UNREACHABLE', `host ${this.o.name()}`);
  };
}

const toSeedNic = (n: SeedWanted['nics'][number]) => ({
  ...{ mac: n.mac, address: n.address ?? '', gateway: n.gateway ?? '', dns: [...n.dns] },
});

const toSeed = (s: SeedWanted) => ({
  instanceId: s.instanceId,
  hostname: s.hostname,
  nics: s.nics.map(toSeedNic),
  sshKeys: [...s.sshKeys],
  userData: s.userData,
});
