/** The public servers: gRPC with its limits, health, reflection, and HTTPS (http/), both over the services of the files beside this one. */
import { setMaxListeners } from 'node:events';
import { Server, type ServerOptions } from '@grpc/grpc-js';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { joinAddress } from '../app/address.ts';
import { LiveServerCredentials, type ServerIdentity } from './credentials.ts';
import { Gateway, type HttpLimits } from './http/gateway.ts';
import { Readiness } from './http/readiness.ts';
import { HTTP_LIMITS, HttpServer } from './http/server.ts';
import { Health } from './health.ts';
import { REFLECTION } from './reflection.ts';
import { services, type App, type PublicService } from './services.ts';
import type { CallDeps } from './call.ts';
import { wrapService } from './wrap.ts';

export interface ApiOptions {
  readonly app: App;
  readonly identity: ServerIdentity;
  readonly wrap: Omit<CallDeps, 'stopping'>;
  readonly limits?: HttpLimits;
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

/** `berth.v1.VmService` */
const serviceOf = (definition: PublicService['definition']): string =>
  Object.values(definition)[0]?.path.split('/')[1] ?? '';

interface Address {
  readonly host: string;
  readonly port: number;
}

export class ApiServer {
  private readonly server = new Server(OPTIONS);
  private readonly health: Health;
  private readonly http: HttpServer;
  private readonly stopping = new AbortController();
  private readonly credentials: LiveServerCredentials;
  private readonly unfollow: () => void;

  constructor(private readonly o: ApiOptions) {
    setMaxListeners(0, this.stopping.signal); // every stream listens
    const { identity } = o;
    this.credentials = new LiveServerCredentials(identity);
    this.unfollow = identity.subscribe(() => {
      this.credentials.renew(identity);
      this.http.renew(identity);
    });
    const deps: CallDeps = { ...o.wrap, stopping: this.stopping.signal };
    const all = services(o.app);
    for (const { definition, handlers } of [...all, ...REFLECTION])
      this.server.addService(definition, wrapService(definition, handlers, deps));
    this.health = new Health(new Set(['', ...all.map((s) => serviceOf(s.definition))]));
    this.health.addTo(this.server);
    const readiness = new Readiness(o.app.about.state, deps.clock);
    const gateway = new Gateway({ services: all, deps, readiness, limits: o.limits ?? HTTP_LIMITS });
    this.http = new HttpServer({ gateway, identity: o.identity, clock: deps.clock, log: deps.log });
  }

  /** @returns the ports; those of the addresses, unless these are 0. */
  async listen(grpc: Address, https: Address | undefined): Promise<{ port: number; httpPort: number | undefined }> {
    const httpPort = https && (await this.http.listen(https.host, https.port));
    try {
      const port = await this.listenGrpc(joinAddress(grpc.host, grpc.port));
      this.health.tell(true);
      return { port, httpPort };
    } catch (e) {
      await this.http.stop();
      throw e;
    }
  }

  private listenGrpc(address: string): Promise<number> {
    const credentials = this.credentials;
    return new Promise((resolve, reject) => {
      this.server.bindAsync(address, credentials, (e, port) => {
        if (e) return reject(badState(`cannot listen on ${address} (${e.message}): is another controller running?`));
        resolve(port);
      });
    });
  }

  /** Ends streams, lets calls in flight finish for a moment, then cuts them. */
  async stop(): Promise<void> {
    this.health.tell(false);
    this.stopping.abort(new ClusterError('CONTROLLER_UNREACHABLE', 'the controller is stopping'));
    this.unfollow();
    const cut = this.o.wrap.clock.after(GRACE_MS, () => this.server.forceShutdown());
    const grpc = new Promise<void>((resolve) => this.server.tryShutdown(() => resolve()));
    await Promise.all([grpc, this.http.stop()]);
    cut.cancel();
    this.server.forceShutdown();
  }
}
