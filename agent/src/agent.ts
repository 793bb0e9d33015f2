/**
 * One agent, put together from its parts and not more: drivers, identity and time come from outside, so that a thousand
 * of them run in one process. main.ts chooses what is real.
 */
import { join } from 'node:path';
import { AdoptionServiceService } from '@berth/proto/agent/v1/adopt.ts';
import { CertificateServiceService } from '@berth/proto/agent/v1/certificate.ts';
import { DisplayServiceService } from '@berth/proto/agent/v1/display.ts';
import { DomainServiceService } from '@berth/proto/agent/v1/domain.ts';
import { HardwareServiceService } from '@berth/proto/agent/v1/hardware.ts';
import { GuestServiceService } from '@berth/proto/agent/v1/guest.ts';
import { HostServiceService } from '@berth/proto/agent/v1/host.ts';
import { ExportServiceService } from '@berth/proto/agent/v1/export.ts';
import { CaptureServiceService } from '@berth/proto/agent/v1/capture.ts';
import { ImageServiceService } from '@berth/proto/agent/v1/image.ts';
import { LogServiceService } from '@berth/proto/agent/v1/log.ts';
import { MachineServiceService } from '@berth/proto/agent/v1/machine.ts';
import { MetricsServiceService } from '@berth/proto/agent/v1/metrics.ts';
import { NetworkServiceService } from '@berth/proto/agent/v1/network.ts';
import { OperationServiceService } from '@berth/proto/agent/v1/operation.ts';
import { PoolServiceService } from '@berth/proto/agent/v1/pool.ts';
import { PowerServiceService } from '@berth/proto/agent/v1/power.ts';
import { UploadServiceService } from '@berth/proto/agent/v1/upload.ts';
import { VolumeDataServiceService } from '@berth/proto/agent/v1/volumedata.ts';
import { VolumeServiceService } from '@berth/proto/agent/v1/volume.ts';
import { WatchServiceService } from '@berth/proto/agent/v1/watch.ts';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { newUuid } from '@berth/shared/runtime/random.ts';
import { isLoopback, splitHostPort, type AgentConfig } from './config.ts';
import { Consoles } from './domain/consoles.ts';
import { Displays } from './domain/displays.ts';
import { Domains } from './domain/domains.ts';
import { Live } from './domain/live.ts';
import { Power } from './domain/power.ts';
import { Screenshots } from './domain/screenshot.ts';
import { Snapshots } from './domain/snapshots.ts';
import { boundSerialLogs } from './domain/serial-log.ts';
import type { Drivers } from './drivers/machine.ts';
import type { VolumeFile } from './drivers/volume-work.ts';
import type { HostIdentity } from './enroll/host-identity.ts';
import { createGuestParts, type GuestParts } from './guest/parts.ts';
import { createAbilities } from './host/abilities.ts';
import { HostLog } from './host/host-log.ts';
import { createHostReport } from './host/host-report.ts';
import { MetricsListener } from './metrics/listener.ts';
import type { Meters } from './metrics/meters.ts';
import { createMetricsParts } from './metrics/parts.ts';
import { createNetworkParts } from './network/parts.ts';
import { FenceKeeper } from './operations/fence.ts';
import { Ledger } from './operations/ledger.ts';
import { Operations } from './operations/operations.ts';
import { createPoolParts } from './pool/parts.ts';
import type { SpaceKeeper } from './pool/space.ts';
import { createPeerPort, type PeerPort, type VolumeGrant } from './peer/port.ts';
import { createTunnels, type Tunnels } from './peer/tunnels.ts';
import { adoptionService } from './rpc/adopt.ts';
import { certificateService } from './rpc/certificate.ts';
import { displayService } from './rpc/display.ts';
import { domainService } from './rpc/domain.ts';
import { createGuard, type Guard } from './rpc/guard.ts';
import { hardwareService } from './rpc/hardware.ts';
import { guestService } from './rpc/guest.ts';
import { hostService } from './rpc/host.ts';
import { imageService } from './rpc/image.ts';
import { logService } from './rpc/log.ts';
import { machineService } from './rpc/machine.ts';
import { metricsService } from './rpc/metrics.ts';
import { networkService } from './rpc/network.ts';
import { operationService } from './rpc/operation.ts';
import { poolService } from './rpc/pool.ts';
import { powerService } from './rpc/power.ts';
import { createRpcServer, type RpcServer } from './rpc/server.ts';
import { uploadService } from './rpc/upload.ts';
import { snapshotService } from './rpc/snapshot.ts';
import { volumeDataService } from './rpc/volume-data.ts';
import { exportService } from './rpc/export.ts';
import { captureService } from './rpc/capture.ts';
import { volumeService } from './rpc/volume.ts';
import { customizeService } from './rpc/customize.ts';
import { Customizer } from './customize/customizer.ts';
import { CustomizeServiceService } from '@berth/proto/agent/v1/customize.ts';
import { SnapshotServiceService } from '@berth/proto/agent/v1/snapshot.ts';
import { watchService, type WatchServiceDeps } from './rpc/watch.ts';
import { Exports } from './volume/exports.ts';
import { Capture } from './volume/capture.ts';
import { Bases } from './volume/bases.ts';
import { Images } from './volume/images.ts';
import { refuseMoving, type MovingVm } from './volume/moves.ts';
import { createVolumeParts, refuseStart, type VolumeParts } from './volume/parts.ts';
import { Uploads } from './volume/uploads.ts';
import { Hub } from './watch/hub.ts';
import type { Sampler } from './watch/sampler.ts';
import { WatchStream } from './watch/stream.ts';

/** How other hosts read images from this one, and this one from them. */
export interface AgentPeers {
  readonly port: Pick<PeerPort, 'start' | 'stop' | 'openExport'>;
  readonly tunnels: Pick<Tunnels, 'open' | 'closeAll'>;
}

export interface AgentOptions {
  readonly drivers: Drivers;
  readonly identity: HostIdentity;
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly log: Log;
  /** Default: the real ones, over TLS on config.peerListen. */
  readonly peers?: AgentPeers;
  /** What the drivers count into; otherwise its own. */
  readonly meters?: Meters;
}

export interface Agent {
  start(): Promise<{ readonly port: number; readonly peerPort: number }>;
  /** Ends streams; guests and helper processes go on. */
  stop(): Promise<void>;
}

/** Calls under way get this long to end. */
const STOP_GRACE_MS = 3_000;

export const createAgent = (options: AgentOptions): Agent => new RunningAgent(options);

class RunningAgent implements Agent {
  private readonly peers: AgentPeers;
  private readonly stopping = new AbortController();
  private reachedAt = '';
  private peerPort = 0;
  private metricsPort = 0;
  private metricsListener: MetricsListener | undefined;
  private serveVolume = ({ volumeId }: VolumeGrant): Promise<VolumeFile> => {
    throw notFound(`volume ${volumeId} is not on this host`);
  };
  private parts:
    | {
        server: RpcServer;
        operations: Operations;
        ledger: Ledger;
        hub: Hub;
        guest: GuestParts;
        space: SpaceKeeper;
        bases: Bases;
      }
    | undefined;

  constructor(private readonly o: AgentOptions) {
    this.peers = o.peers ?? createPeers(o, (of) => this.serveVolume(of));
  }

  async start(): Promise<{ port: number; peerPort: number }> {
    const { config, clock, log } = this.o;
    const ledger = await Ledger.open(config.dataDir, { clock, log });
    const operations = new Operations(ledger, clock, log);
    const { server, hub, uploads, guest, pool, bases, metrics, networks } = this.assemble(ledger, operations);
    await pool.store.load();
    await networks.logical.store.load();
    this.parts = { server, operations, ledger, hub, guest, space: pool.space, bases };
    // before anything is taken up again: a port that is taken ends the start
    this.peerPort = await this.openPeerPort();
    await this.openMetrics(() => metrics.text());
    await uploads.recover();
    await operations.recover();
    hub.start();
    pool.space.start();
    bases.start();
    const unbounded = (e: unknown): void => log.warn({ err: e }, 'serial logs could not be looked at');
    void boundSerialLogs({ disks: this.o.drivers.disks, clock }, unbounded, this.stopping.signal);
    await guest.start();
    const { host, port } = splitHostPort(config.listen);
    return { port: await server.listen(host, port), peerPort: this.peerPort };
  }

  async stop(): Promise<void> {
    this.stopping.abort(new ClusterError('HOST_UNREACHABLE', 'the agent is stopping'));
    const { parts } = this;
    this.parts = undefined;
    if (parts === undefined) return;
    const { server, operations, ledger, hub, guest, bases } = parts;
    parts.space.stop();
    this.metricsListener?.stop();
    hub.stop();
    guest.stop();
    const timer = this.o.clock.after(STOP_GRACE_MS, () => server.kill());
    const ended = [this.within(operations.stop()), this.within(bases.stop()), server.close(), this.peers.port.stop()];
    await Promise.all(ended);
    timer.cancel();
    server.kill();
    await this.peers.tunnels.closeAll();
    await ledger.close();
  }

  private assemble(ledger: Ledger, operations: Operations) {
    const { identity, clock, log, config } = this.o;
    const { hostId, hostName } = identity;
    const pool = createPoolParts({
      ...{ operations, clock, log, hostId, hostName },
      drivers: this.o.drivers,
      dataDir: config.dataDir,
    });
    const drivers = { ...this.o.drivers, disks: pool.disks };
    const { hypervisor, disks, guestDisks } = drivers;
    const abilities = createAbilities(drivers, config.domainType);
    const report = createHostReport({ drivers, abilities, ...this.addresses });
    const domains = new Domains({
      ...{ hypervisor, disks, operations, abilities, guestDisks, means: drivers.means, log },
      ...{ hostName, bootDir: config.bootDir },
      mayStart: (vm) => refuseStart(disks, vm),
    });
    const consoles = new Consoles({ domains, hypervisor, disks, clock });
    const power = new Power({ domains, hypervisor, operations });
    const live = new Live({ domains, hypervisor, disks, operations, hostName: identity.hostName });
    const screenshots = new Screenshots({ domains, hypervisor });
    const customizer = new Customizer({ hypervisor, disks, guestDisks, operations, abilities });
    const directIo = async (): Promise<boolean> => (await abilities()).directIo;
    const bases = new Bases({ hypervisor, disks, domains, clock, log });
    const images = new Images(disks, operations, this.peers.tunnels, hypervisor, () => bases.nudge());
    const networks = createNetworkParts({ drivers, hostName, config, operations, clock, log });
    const isRead = (id: string): boolean => images.isReading(id) || volumes.uploaded.isReading(id);
    const uploads = new Uploads(disks, ledger, log, isRead);
    const volumes: VolumeParts = createVolumeParts({
      ...{ hypervisor, disks, domains, directIo, operations, uploads, identity, clock, log },
    });
    this.serveVolume = (of) => volumes.receives.serve(of);
    const observed = { pools: () => pool.watch.observe(), networks: () => networks.logical.observe() };
    const every = { observeEveryMs: config.observeInterval };
    const hub = new Hub({ drivers, operations, report, clock, log, ...every, ...observed });
    const parts = { drivers, clock, identity, hub, operations, meters: this.o.meters };
    const { sampler, metrics, meters } = createMetricsParts(parts);
    const publish = hub.setGuest.bind(hub);
    const guest = createGuestParts({ hypervisor, domains, operations, clock, log, dataDir: config.dataDir, publish });
    const capture = new Capture({ domains, hypervisor, disks, guest: guest.verbs, uploads, operations });
    const mayChange = (vm: MovingVm) => refuseMoving({ disks, places: disks.places }, vm, 'get a snapshot');
    const snapshots = new Snapshots({ domains, hypervisor, disks, guest: guest.verbs, operations, clock, mayChange });
    const exports = new Exports({ disks, uploads, operations });
    const peers = { peerPort: this.peers.port, peerAddress: this.addresses.peerAddress };
    const guard = this.createGuard(ledger, meters);
    const server = createRpcServer({
      ...{ identity, log, installationId: identity.installationId },
      now: () => clock.now(),
      onReached: (address) => (this.reachedAt = address),
      services: [
        [HostServiceService, hostService(guard, report)],
        [MachineServiceService, machineService(guard, { drivers, clock, operations, abilities })],
        [LogServiceService, logService(guard, new HostLog(drivers.logs, hypervisor), config)],
        [OperationServiceService, operationService(guard, operations, uploads)],
        [AdoptionServiceService, adoptionService(guard, domains)],
        [DomainServiceService, domainService(guard, { domains, operations, consoles, disks, clock })],
        [DisplayServiceService, displayService(guard, new Displays({ domains, hypervisor }))],
        [PowerServiceService, powerService(guard, operations, power, screenshots)],
        [HardwareServiceService, hardwareService(guard, operations, live)],
        [GuestServiceService, guestService(guard, operations, guest.verbs, guest.runs)],
        [VolumeServiceService, volumeService(guard, operations, volumes.volumes)],
        [VolumeDataServiceService, volumeDataService(guard, operations, { ...volumes, ...peers })],
        [UploadServiceService, uploadService(guard, operations, volumes.uploaded)],
        [PoolServiceService, poolService(guard, operations, pool)],
        [CustomizeServiceService, customizeService(guard, operations, customizer)],
        [
          ImageServiceService,
          imageService(guard, { images, uploads, operations, receives: volumes.receives, ...peers }),
        ],
        [ExportServiceService, exportService(guard, operations, exports)],
        [SnapshotServiceService, snapshotService(guard, operations, snapshots)],
        [CaptureServiceService, captureService(guard, operations, capture)],
        [MetricsServiceService, metricsService(guard, metrics)],
        [NetworkServiceService, networkService(guard, operations, networks)],
        [WatchServiceService, watchService(guard, this.watchDeps(hub, sampler))],
        [CertificateServiceService, certificateService(guard, identity, clock)],
      ],
    });
    return { server, hub, uploads, guest, pool, bases, metrics, networks };
  }

  private createGuard(ledger: Ledger, meters: Meters): Guard {
    const { identity, clock, log } = this.o;
    const fences = new FenceKeeper(identity.installationId, ledger, clock);
    return createGuard(fences, log, this.stopping.signal, { told: meters.requests.told, clock });
  }

  private watchDeps(hub: Hub, sampler: Sampler): WatchServiceDeps {
    const { identity, clock, config, drivers } = this.o;
    // where Prometheus scrapes as often, libvirt is asked for it alone
    const sample = (everyMs: number) => sampler.sample(everyMs / 2);
    const open = (statisticsEveryMs: number) => new WatchStream({ hub, sample, clock, statisticsEveryMs });
    const bootId = async (): Promise<string> => (await drivers.machine.facts()).bootId;
    return {
      hostId: identity.hostId,
      agentInstanceId: newUuid(),
      bootId,
      open,
      statisticsEveryMs: config.statisticsInterval,
    };
  }

  /** Only where one is configured. */
  private async openMetrics(text: () => Promise<string>): Promise<void> {
    const { config, clock, log, identity } = this.o;
    if (config.metrics === undefined) return;
    this.metricsListener = new MetricsListener({ config: config.metrics, text, identity, clock, log });
    this.metricsPort = await this.metricsListener.start();
  }

  private async openPeerPort(): Promise<number> {
    try {
      return (await this.peers.port.start()).port;
    } catch (e) {
      const why = `the agent cannot listen for other hosts on ${this.o.config.peerListen}`;
      throw new ClusterError('BAD_STATE', why, {}, { cause: e });
    }
  }

  /** As configured; otherwise the address that the controller has reached, with the export port. */
  private peerAddress(): string {
    const { peerAddress, peerListen } = this.o.config;
    return peerAddress ?? this.reachedOn(splitHostPort(peerListen).host, this.peerPort);
  }

  /** What the host report asks for. */
  private readonly addresses = {
    peerAddress: (): string => this.peerAddress(),
    metricsAddress: (): string => this.metricsAddress(),
  };

  /** Empty: it gives out none, or only to programs here. */
  private metricsAddress(): string {
    const { metrics } = this.o.config;
    const { host } = splitHostPort(metrics?.listen ?? '127.0.0.1:0');
    return isLoopback(host) ? '' : this.reachedOn(host, this.metricsPort);
  }

  private reachedOn(host: string, port: number): string {
    const any = host === '0.0.0.0' || host === '::';
    const reached = (any ? this.reachedAt : host).replace(/^::ffff:(?=\d+\.)/, '');
    if (reached === '') return '';
    return `${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
  }

  private async within(work: Promise<void>): Promise<void> {
    const over = new AbortController();
    const late = this.o.clock.sleep(STOP_GRACE_MS, over.signal).catch(() => undefined);
    await Promise.race([work, late]);
    over.abort();
  }
}

function createPeers(o: AgentOptions, volume: (of: VolumeGrant) => Promise<VolumeFile>): AgentPeers {
  const { identity, clock, log, config, drivers } = o;
  return {
    port: createPeerPort({
      listen: splitHostPort(config.peerListen),
      identity,
      serve: (digest) => drivers.disks.serveImage(digest),
      hashes: (digest) => drivers.disks.imageHashes(digest),
      volume,
      clock,
      log,
    }),
    tunnels: createTunnels({ dir: join(config.dataDir, 'tunnels'), identity, clock, log }),
  };
}
