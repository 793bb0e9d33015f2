/** The public gRPC server: TLS 1.3, limits, health, reflection, and the services of the files beside this one. */
import { setMaxListeners } from 'node:events';
import { Server, type ServerOptions, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { ControllerServiceService } from '@berth/proto/v1/controller.ts';
import { EnrollmentServiceService } from '@berth/proto/v1/enrollment.ts';
import { EventServiceService } from '@berth/proto/v1/event.ts';
import { HostServiceService } from '@berth/proto/v1/host.ts';
import { ImageServiceService } from '@berth/proto/v1/image.ts';
import { JobServiceService } from '@berth/proto/v1/job.ts';
import { TokenServiceService } from '@berth/proto/v1/token.ts';
import { VmServiceService } from '@berth/proto/v1/vm.ts';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Enrollment } from '../app/enrollment.ts';
import type { Events } from '../app/events.ts';
import type { HostsApp } from '../app/hosts.ts';
import type { Images } from '../app/images.ts';
import type { JobsApp } from '../app/jobs.ts';
import type { Vms } from '../app/vms.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tokens } from '../app/tokens.ts';
import { controllerHandlers, type About } from './controller.ts';
import { serverCredentials } from './credentials.ts';
import { enrollmentHandlers } from './enrollment.ts';
import { eventHandlers } from './event.ts';
import { guardReflection } from './guard.ts';
import { hostHandlers } from './host.ts';
import { imageHandlers } from './image.ts';
import { jobHandlers } from './job.ts';
import { addReflection } from './reflection.ts';
import { tokenHandlers } from './token.ts';
import { vmHandlers } from './vm.ts';
import { wrapService, type WrapDeps } from './wrap.ts';

export interface App {
  readonly hosts: HostsApp;
  readonly vms: Vms;
  readonly images: Images;
  readonly jobs: JobsApp;
  readonly events: Events;
  readonly tokens: Tokens;
  readonly enrollment: Enrollment;
  readonly connections: Hosts;
  readonly about: About;
}

export interface ApiOptions {
  readonly app: App;
  readonly identity: { readonly chainPem: string; readonly keyPem: string };
  readonly wrap: Omit<WrapDeps, 'stopping'>;
}

/** `grpc.enable_channelz` stays on: without it grpc-js does not end sessions when the server is shut down. */
const OPTIONS: ServerOptions = {
  'grpc.max_receive_message_length': 4 << 20,
  'grpc.max_send_message_length': 64 << 20,
  'grpc.max_concurrent_streams': 256,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
};
const GRACE_MS = 2_000;

export class ApiServer {
  private readonly server = new Server(OPTIONS);
  private readonly health = new HealthImplementation({ '': 'NOT_SERVING' });
  private readonly stopping = new AbortController();

  constructor(private readonly o: ApiOptions) {
    setMaxListeners(0, this.stopping.signal); // every stream listens
    const deps: WrapDeps = { ...o.wrap, stopping: this.stopping.signal };
    for (const [definition, implementation] of services(o.app, deps))
      this.server.addService(definition, implementation);
    this.health.addToServer(this.server);
    if (!addReflection(guardReflection(this.server, deps)))
      deps.log.warn('server reflection is off: the .proto files are not beside the program');
  }

  /** @returns the port; that of `listen`, unless it is 0. */
  listen(address: string): Promise<number> {
    const credentials = serverCredentials(this.o.identity);
    return new Promise((resolve, reject) => {
      this.server.bindAsync(address, credentials, (e, port) => {
        if (e) return reject(badState(`cannot listen on ${address} (${e.message}): is another controller running?`));
        this.health.setStatus('', 'SERVING');
        resolve(port);
      });
    });
  }

  /** Ends streams, lets calls in flight finish for a moment, then cuts them. */
  async stop(): Promise<void> {
    this.health.setStatus('', 'NOT_SERVING');
    this.stopping.abort();
    const cut = this.o.wrap.clock.after(GRACE_MS, () => this.server.forceShutdown());
    await new Promise<void>((resolve) => this.server.tryShutdown(() => resolve()));
    cut.cancel();
    this.server.forceShutdown();
  }
}

type Service = readonly [ServiceDefinition, UntypedServiceImplementation];

function services(app: App, deps: WrapDeps): Service[] {
  const { about } = app;
  return [
    [ControllerServiceService, wrapService(ControllerServiceService, controllerHandlers(about), deps)],
    [
      EnrollmentServiceService,
      wrapService(EnrollmentServiceService, enrollmentHandlers(app.enrollment, about.state.installationId), deps),
    ],
    [EventServiceService, wrapService(EventServiceService, eventHandlers(app.events), deps)],
    [HostServiceService, wrapService(HostServiceService, hostHandlers(app.hosts), deps)],
    [ImageServiceService, wrapService(ImageServiceService, imageHandlers(app.images), deps)],
    [JobServiceService, wrapService(JobServiceService, jobHandlers(app.jobs), deps)],
    [TokenServiceService, wrapService(TokenServiceService, tokenHandlers(app.tokens), deps)],
    [VmServiceService, wrapService(VmServiceService, vmHandlers(app.vms, app.connections), deps)],
  ];
}
