/** For the tests of the agent's core: an agent over simulated drivers, and clients that hold any certificate one likes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  credentials,
  Metadata,
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ServiceError,
} from '@grpc/grpc-js';
import { DomainServiceClient } from '@berth/proto/agent/v1/domain.ts';
import { CertificateServiceClient } from '@berth/proto/agent/v1/certificate.ts';
import { HardwareServiceClient } from '@berth/proto/agent/v1/hardware.ts';
import { GuestServiceClient } from '@berth/proto/agent/v1/guest.ts';
import { HostServiceClient } from '@berth/proto/agent/v1/host.ts';
import { ImageServiceClient } from '@berth/proto/agent/v1/image.ts';
import { NetworkServiceClient } from '@berth/proto/agent/v1/network.ts';
import { OperationServiceClient, type Fence } from '@berth/proto/agent/v1/operation.ts';
import { PowerServiceClient } from '@berth/proto/agent/v1/power.ts';
import { CaptureServiceClient } from '@berth/proto/agent/v1/capture.ts';
import { SnapshotServiceClient } from '@berth/proto/agent/v1/snapshot.ts';
import { CustomizeServiceClient } from '@berth/proto/agent/v1/customize.ts';
import { VolumeServiceClient } from '@berth/proto/agent/v1/volume.ts';
import { WatchServiceClient, type WatchMessage } from '@berth/proto/agent/v1/watch.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { makeCa, type TestCa, type TestIdentity } from '@berth/test/harness/pki.ts';
import { createAgent, type Agent } from '../agent.ts';
import { parseConfig } from '../config.ts';
import type { HostIdentity } from '../enroll/host-identity.ts';
import type { Drivers } from '../drivers/machine.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { memoryIdentity } from './identity.ts';

export const INSTALLATION = 'installation-1';
export const log = createLog('test', 'silent');

export interface Clients {
  readonly host: HostServiceClient;
  readonly domain: DomainServiceClient;
  readonly hardware: HardwareServiceClient;
  readonly volume: VolumeServiceClient;
  readonly capture: CaptureServiceClient;
  readonly snapshot: SnapshotServiceClient;
  readonly customize: CustomizeServiceClient;
  readonly image: ImageServiceClient;
  readonly network: NetworkServiceClient;
  readonly operation: OperationServiceClient;
  readonly power: PowerServiceClient;
  readonly guest: GuestServiceClient;
  readonly watch: WatchServiceClient;
  readonly certificate: CertificateServiceClient;
  close(): void;
}

export const fence = (over: Partial<Fence> = {}): Fence => ({
  installationId: INSTALLATION,
  controllerEpoch: 1n,
  revision: 1n,
  runId: 'run-1',
  formerRunIds: [],
  ...over,
});

export const context = (operationId: string, over: Partial<Fence> = {}) => ({ fence: fence(over), operationId });

type UnaryMethod<Q, A> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (e: ServiceError | null, a: A) => void,
) => unknown;

/** Calls one unary method; a refusal is thrown as the ClusterError that it was. */
export function call<Q, A>(client: Client, method: UnaryMethod<Q, A>, request: Q): Promise<A> {
  return new Promise((resolve, reject) => {
    method.call(client, request, new Metadata(), {}, (e, a) =>
      e ? reject(fromStatus(e, 'HOST_UNREACHABLE', 'the agent')) : resolve(a),
    );
  });
}

export function clientsFor(port: number, who: TestIdentity): Clients {
  const secure: ChannelCredentials = credentials.createSsl(
    Buffer.from(who.caPem),
    Buffer.from(who.keyPem),
    Buffer.from(who.certPem),
    { checkServerIdentity: () => undefined },
  );
  const at = `127.0.0.1:${port}`;
  const options = { 'grpc.ssl_target_name_override': 'agent', 'grpc.default_authority': 'agent' };
  const made = {
    host: new HostServiceClient(at, secure, options),
    domain: new DomainServiceClient(at, secure, options),
    hardware: new HardwareServiceClient(at, secure, options),
    volume: new VolumeServiceClient(at, secure, options),
    capture: new CaptureServiceClient(at, secure, options),
    snapshot: new SnapshotServiceClient(at, secure, options),
    customize: new CustomizeServiceClient(at, secure, options),
    image: new ImageServiceClient(at, secure, options),
    network: new NetworkServiceClient(at, secure, options),
    operation: new OperationServiceClient(at, secure, options),
    power: new PowerServiceClient(at, secure, options),
    guest: new GuestServiceClient(at, secure, options),
    watch: new WatchServiceClient(at, secure, options),
    certificate: new CertificateServiceClient(at, secure, options),
  };
  return { ...made, close: () => Object.values(made).forEach((c) => c.close()) };
}

/** One simulated host with its agent, which can be stopped and started again on the same directory. */
export class AgentWorld {
  port = 0;
  peerPort = 0;
  clients!: Clients;
  private agent: Agent | undefined;
  private readonly opened: Clients[] = [];

  readonly drivers: SimDrivers;

  private constructor(
    readonly dir: string,
    readonly ca: TestCa,
    readonly identity: HostIdentity,
    private readonly wrap: (d: SimDrivers) => Drivers,
  ) {
    this.drivers = createSimDrivers({ name: identity.hostId, runDir: dir, clock: systemClock, bootMs: 1 });
  }

  static async start(wrap: (d: SimDrivers) => Drivers = (d) => d, ca?: TestCa, hostId = 'host-1'): Promise<AgentWorld> {
    const dir = await mkdtemp(join(tmpdir(), 'berth-agent-'));
    const authority = ca ?? (await makeCa());
    const [control, transfer] = [await authority.host(hostId), await authority.transfer(hostId)];
    const identity = memoryIdentity({ hostId, installationId: INSTALLATION, control, transfer });
    const world = new AgentWorld(dir, authority, identity, wrap);
    await world.up();
    return world;
  }

  async up(): Promise<void> {
    const text = `dataDir: ${this.dir}\nlisten: 127.0.0.1:0\npeerListen: 127.0.0.1:0\nstatisticsInterval: 1s\n`;
    const config = parseConfig(text, 'test');
    const drivers = this.wrap(this.drivers);
    this.agent = createAgent({ drivers, identity: this.identity, config, clock: systemClock, log });
    const ports = await this.agent.start();
    this.port = ports.port;
    this.peerPort = ports.peerPort;
    this.clients = await this.as(`urn:berth:controller:${INSTALLATION}`);
  }

  /** Clients that present a certificate with this name, of this CA or another. */
  async as(uri: string, ca = this.ca): Promise<Clients> {
    const clients = clientsFor(this.port, { ...(await ca.issue({ uri })), caPem: this.ca.caPem });
    this.opened.push(clients);
    return clients;
  }

  async down(): Promise<void> {
    for (const c of this.opened.splice(0)) c.close();
    await this.agent?.stop();
    this.agent = undefined;
  }

  async end(): Promise<void> {
    await this.down();
    await this.drivers.close();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** A watch whose messages pile up in `seen`. */
export function watchInto(clients: Clients, over: Partial<Fence> = {}) {
  const seen: WatchMessage[] = [];
  const stream = clients.watch.watch({ fence: fence(over), statisticsIntervalMs: 500n });
  let error: ServiceError | undefined;
  stream.on('data', (m: WatchMessage) => seen.push(m)).on('error', (e) => (error = e as ServiceError));
  const cases = () => seen.map((m) => m.message?.$case ?? 'none');
  return { seen, stream, cases, failure: () => error };
}
