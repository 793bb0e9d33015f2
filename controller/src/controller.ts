/** Builds the controller out of its parts, in order, and takes it apart again. In-process for tests and benches too. */
import { badState, chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { LogRing } from '@berth/shared/log/ring.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { trustDigest } from '@berth/shared/trust/certificate.ts';
import type { Random } from '@berth/shared/runtime/random.ts';
import { AlarmWatcher } from './alarms/watcher.ts';
import { ApiServer } from './api/server.ts';
import type { App } from './api/services.ts';
import { joinAddress, splitAddress } from './app/address.ts';
import { Adoption } from './app/adoption.ts';
import { Audit } from './app/audit.ts';
import { Authentication } from './app/authentication.ts';
import { HeadFile } from './app/audit-head.ts';
import { Batches } from './app/batches.ts';
import { Certificates } from './app/certificates.ts';
import { ClientCertificates } from './app/client-certificates.ts';
import { Displays } from './app/displays.ts';
import { Enrollment } from './app/enrollment.ts';
import { Events } from './app/events.ts';
import { GuestsApp } from './app/guests.ts';
import { HostsApp } from './app/hosts.ts';
import { Prune } from './app/prune.ts';
import { Exports } from './app/exports.ts';
import { Captures } from './app/captures.ts';
import { Snapshots } from './app/snapshots.ts';
import { ImagePushes } from './app/image-push.ts';
import { Images } from './app/images.ts';
import { JobsApp } from './app/jobs.ts';
import { Machines } from './app/machines.ts';
import { ClusterApp } from './app/cluster.ts';
import { NetworksApp } from './app/networks.ts';
import { PoolsApp } from './app/pools.ts';
import { Reviews } from './app/reviews.ts';
import { LastUse } from './app/last-use.ts';
import { Limits } from './app/limits.ts';
import { Logins } from './app/logins.ts';
import { Tokens } from './app/tokens.ts';
import { TuningApp } from './app/tuning.ts';
import { Users } from './app/users.ts';
import { VmUpdates } from './app/vm-updates.ts';
import type { VmDeps } from './app/vm-deps.ts';
import { VmMaking } from './app/vm-making.ts';
import { Vms } from './app/vms.ts';
import { VolumeUploads } from './app/volume-uploads.ts';
import { Volumes } from './app/volumes.ts';
import { Control } from './backup/control.ts';
import { startGuests } from './guests/start.ts';
import { httpAddressOf, lifetimesOf, type Config } from './config.ts';
import { createHosts, type RunningHosts } from './hosts/connections.ts';
import { createFence, type FenceSource } from './hosts/fence.ts';
import { LastSeen } from './hosts/last-seen.ts';
import { recordRun } from './hosts/runs.ts';
import { makeJobDeps } from './jobs/deps.ts';
import type { Jobs } from './jobs/engine/jobs.ts';
import { openJobs } from './jobs/engine/open-jobs.ts';
import { nudgeJobs } from './jobs/nudges.ts';
import { JOBS } from './jobs/registry.ts';
import { Uploads } from './jobs/uploads.ts';
import { WorldView } from './jobs/world.ts';
import { ControllerMetrics } from './metrics/controller-metrics.ts';
import { Meters } from './metrics/meters.ts';
import { Reconcilers } from './reconcilers/reconcilers.ts';
import { Demand } from './statistics/demand.ts';
import { Statistics } from './statistics/statistics.ts';
import { Support } from './support/bundle.ts';
import { openState } from './state/open-state.ts';
import type { State } from './state/state.ts';
import { loadIdentity, paths, type Trust } from './trust/identity.ts';
import { CertificateKeeper } from './trust/keeper.ts';
import { createRotation } from './trust/rotation.ts';
import { OwnRenewal } from './trust/own-renewal.ts';

export interface ControllerOptions {
  readonly dataDir: string;
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** What `log` wrote last, for support bundles. */
  readonly ring?: LogRing;
  readonly version?: string;
  /** The bundled SQLite thread; beside the program unless said otherwise. */
  readonly workerFile?: string | URL;
  /** A commit failed: the process must end at once. */
  readonly onFatal?: (e: unknown) => void;
}

export interface Controller {
  /** Serving when it resolves. */
  start(): Promise<{
    readonly port: number;
    /** Undefined when HTTPS is off. */
    readonly httpPort: number | undefined;
    readonly hosts: number;
    readonly installationId: string;
  }>;
  /** Streams end, jobs rest where they are, all is durable, the database is free. */
  stop(): Promise<void>;
  /** For tests and benches. */
  readonly parts: Parts | undefined;
}

export interface Parts {
  readonly state: State;
  readonly hosts: RunningHosts;
  readonly jobs: Jobs;
  readonly reconcilers: Reconcilers;
  readonly api: ApiServer;
  readonly audit: Audit;
  readonly lastUse: LastUse;
  readonly identity: Trust;
  readonly statistics: Statistics;
  readonly metrics: ControllerMetrics;
  readonly keeper: CertificateKeeper;
  readonly ownRenewal: OwnRenewal;
}

/** What answers carry: the same for the same CAs. */
function caDigest(trust: Trust): () => string {
  const digest = () => trustDigest({ control: trust.cas.control }).slice(0, 16);
  let now = digest();
  trust.subscribe(() => (now = digest()));
  return () => now;
}

function unusedCopiesMs({ imageCopies: { unusedFor } }: Config): number {
  return unusedFor === 'never' ? Infinity : unusedFor;
}

export const createController = (options: ControllerOptions): Controller => new BuiltController(options);

class BuiltController implements Controller {
  parts: Parts | undefined;
  private port = 0;
  private readonly seen: LastSeen;
  private alarms: AlarmWatcher | undefined;
  private endNudges: (() => void) | undefined;
  private control: Control | undefined;
  private httpPort: number | undefined;
  private readonly meters: Meters;
  private readonly demand: Demand;

  constructor(private readonly o: ControllerOptions) {
    this.meters = new Meters(o.clock);
    this.demand = new Demand(o.clock, o.config.statisticsInterval);
    this.seen = new LastSeen(paths(o.dataDir).lastSeen, o.clock, o.log);
  }

  async start() {
    const { config, clock, dataDir } = this.o;
    const identity = await loadIdentity(dataDir, clock.now(), lifetimesOf(config));
    await this.seen.load();
    const state = await this.openState();
    try {
      this.parts = this.build(identity, state);
      await this.parts.audit.start();
      const listen = splitAddress(config.listen, 7443) ?? { host: '0.0.0.0', port: 7443 };
      ({ port: this.port, httpPort: this.httpPort } = await this.parts.api.listen(listen, httpAddressOf(config)));
    } catch (e) {
      this.parts = undefined;
      await state.close();
      throw e;
    }
    const { hosts, jobs, reconcilers, keeper, ownRenewal, statistics, metrics } = this.parts;
    keeper.start();
    ownRenewal.start();
    this.endNudges = nudgeJobs({ hosts, state, jobs });
    const { log } = this.o;
    this.alarms = new AlarmWatcher({ state, hosts, clock, log, dataDir });
    this.alarms.start();
    reconcilers.start(hosts, jobs);
    statistics.start();
    metrics.start();
    hosts.start();
    this.seen.start(() => hosts.lastSeen());
    jobs.run();
    this.control = new Control({ dataDir, state, clock, log: this.o.log });
    await this.control.start();
    const { httpPort } = this;
    return { port: this.port, httpPort, hosts: state.tables.hosts.size, installationId: state.installationId };
  }

  async stop(): Promise<void> {
    const parts = this.parts;
    if (parts === undefined) return;
    this.parts = undefined;
    await this.control?.stop();
    await parts.api.stop();
    await parts.jobs.stop();
    await parts.lastUse.flush();
    await parts.audit.stop();
    this.endNudges?.();
    parts.reconcilers.stop();
    parts.statistics.stop();
    parts.metrics.stop();
    parts.keeper.stop();
    parts.ownRenewal.stop();
    this.alarms?.stop();
    await this.seen.stop(parts.hosts.lastSeen());
    parts.hosts.stop();
    await parts.state.close();
  }

  private async openState(): Promise<State> {
    const { dataDir, clock, log, workerFile } = this.o;
    const onFatal = (e: unknown) => this.o.onFatal?.(e); // in the log already
    const where = workerFile === undefined ? {} : { workerFile };
    const path = paths(dataDir).database;
    try {
      return await openState({ path, clock, log, onFatal, ...where, onCommit: this.meters.commit });
    } catch (e) {
      if (!/malformed|disk I\/O error|corrupt/i.test(chain(e))) throw e;
      throw badState(`the database ${path} is damaged: put it back from a backup`, {}, e);
    }
  }

  private build(identity: Trust, state: State): Parts {
    const { clock, random, log, config } = this.o;
    if (state.installationId !== identity.installationId)
      throw badState(
        `${this.o.dataDir} mixes two installations: its database is of ${state.installationId}, its keys are of ${identity.installationId}. Restore both from the same backup`,
      );
    const { policy } = config;
    const runId = newId('run', clock.now());
    const reconcilers = new Reconcilers({ state, clock, log, runId, unusedCopiesMs: unusedCopiesMs(config) });
    const fence = createFence(state, runId, recordRun(paths(this.o.dataDir).runs, runId));
    const hosts = this.buildHosts(identity, state, fence, reconcilers);
    const uploads = new Uploads(clock);
    const world = new WorldView(state.tables, hosts, policy, (choose) => this.meters.place(choose));
    const keeper = new CertificateKeeper({ state, hosts, trust: identity, clock, random, log });
    const rotation = createRotation({ trust: identity, keeper, tables: state.tables, clock });
    const jobs: Jobs = openJobs({
      state,
      deps: makeJobDeps({ hosts, tables: state.tables, world, uploads, ca: rotation }),
      defs: JOBS,
      mostPerUser: config.limits.jobs,
      clock,
      log,
      random,
    });
    const tokens = new Tokens(state);
    const authentication = new Authentication({ state, clock });
    const lastUse = new LastUse(state, clock, log);
    const limits = new Limits(config.limits, clock);
    const head = new HeadFile(paths(this.o.dataDir).auditHead, clock, log);
    const audit = new Audit({ state, clock, log, head });
    const advertised = () => this.advertised(identity);
    const certificates = new Certificates({ state, jobs, trust: identity, keeper, clock });
    const statistics = new Statistics({ state, hosts, clock, demand: this.demand });
    const about = { state, version: this.o.version ?? '0.0.0', startedAtMs: clock.now() };
    const metrics = this.buildMetrics(identity, state, hosts);
    const guests = startGuests(config.osinfoDir);
    const vmDeps = { state, hosts, jobs, clock, random, world, guests };
    const vms = new Vms(vmDeps);
    const making = new VmMaking(vmDeps);
    const storage = storageApps({ ...vmDeps, uploads });
    const app: App = {
      guests: new GuestsApp({ state, hosts, vms, guestExec: config.guestExec }),
      certificates,
      clients: new ClientCertificates({ state, authority: identity.authority, clock }),
      trust: identity,
      hosts: new HostsApp({ state, hosts, clock, policy, trust: identity, advertised }),
      machines: new Machines({ state, hosts, clock }),
      vms,
      making,
      batches: new Batches({ ...vmDeps, making, captures: storage.captures }),
      displays: new Displays({ state, vms, hosts, clock }),
      tuning: new TuningApp({ state, hosts, clock, log, policy }),
      updates: new VmUpdates(vmDeps),
      ...storage,
      cluster: new ClusterApp({ state, hosts, clock }),
      jobs: new JobsApp({ state, jobs }),
      events: new Events(state),
      adoption: new Adoption({ state, hosts }),
      reviews: new Reviews({ state, hosts, clock }),
      statistics,
      metrics,
      support: new Support({ state, hosts, jobs, clock, config, about, ring: this.o.ring }),
      tokens,
      users: new Users(state, clock),
      logins: new Logins(state, clock),
      audit,
      enrollment: new Enrollment(state, identity, clock),
      connections: hosts,
      about,
    };
    const begun = (path: string, long: boolean) => this.meters.requests.begin(path, long);
    const ca = caDigest(identity);
    const wrap = { state, authentication, audit, limits, lastUse, clock, log, ca, begun };
    const api = new ApiServer({ app, identity, wrap });
    const ownRenewal = new OwnRenewal(identity, clock, log, () => certificates.rotateWhenDue());
    return { state, hosts, jobs, reconcilers, api, identity, audit, lastUse, statistics, metrics, keeper, ownRenewal };
  }

  private buildMetrics(identity: Trust, state: State, hosts: RunningHosts): ControllerMetrics {
    const { clock, version = '0.0.0' } = this.o;
    const httpAddress = () => this.advertisedHttp(identity);
    return new ControllerMetrics({ state, hosts, clock, meters: this.meters, version, httpAddress });
  }

  private buildHosts(identity: Trust, state: State, fence: FenceSource, reconcilers: Reconcilers): RunningHosts {
    const { clock, random, log, config } = this.o;
    return createHosts({
      state,
      identity,
      clock,
      random,
      log,
      fence,
      statisticsIntervalMs: config.statisticsInterval,
      wantedIntervalMs: (hostId) => this.demand.intervalMs(hostId),
      pace: config.dial,
      begun: (path) => this.meters.agentRequests.begin(path),
      ...reconcilers.hooks,
      lastSeen: (hostId) => this.seen.get(hostId),
    });
  }

  /** Where callers reach HTTPS: on the address that join tokens have. */
  private advertisedHttp(identity: Trust): string | undefined {
    const { host } = splitAddress(this.advertised(identity), this.port) ?? {};
    return host === undefined || this.httpPort === undefined ? undefined : joinAddress(host, this.httpPort);
  }

  /** What join tokens say: as configured; else as told at init, unless the port was picked by the system. */
  private advertised(identity: Trust): string {
    const { address, listen } = this.o.config;
    const told = address ?? identity.addresses[0] ?? '127.0.0.1:0';
    const parts = splitAddress(told, this.port);
    const systemPort = splitAddress(listen, 7443)?.port === 0;
    return parts ? joinAddress(parts.host, systemPort || parts.port === 0 ? this.port : parts.port) : told;
  }
}

/** Of images, volumes and the pools that they lie in, and of networks. */
function storageApps(deps: VmDeps & { readonly uploads: Uploads }): StorageApps {
  const { state, hosts, jobs, clock, uploads } = deps;
  return {
    images: new Images({ state, hosts, jobs, uploads, clock }),
    volumes: new Volumes(deps),
    volumeUploads: new VolumeUploads(deps),
    exports: new Exports({ state, hosts, jobs, uploads, clock }),
    captures: new Captures({ state, hosts, jobs, clock }),
    snapshots: new Snapshots(deps),
    prune: new Prune({ state, hosts, jobs, clock }),
    pushes: new ImagePushes({ state, hosts, jobs }),
    pools: new PoolsApp({ state, hosts, jobs, clock }),
    networks: new NetworksApp({ state, hosts, jobs, clock }),
  };
}

type StorageApps = Pick<
  App,
  | 'images'
  | 'volumes'
  | 'volumeUploads'
  | 'exports'
  | 'captures'
  | 'snapshots'
  | 'prune'
  | 'pushes'
  | 'pools'
  | 'networks'
>;
