/** The public gRPC server: TLS 1.3, limits, health, reflection, and the services of the files beside this one. */
import { setMaxListeners } from 'node:events';
import { Server, type ServerOptions } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import { serverCredentials } from './credentials.ts';
import { guardReflection } from './guard.ts';
import { addReflection } from './reflection.ts';
import { services, type App } from './services.ts';
import type { CallDeps } from './call.ts';
import { wrapService } from './wrap.ts';

export interface ApiOptions {
  readonly app: App;
  readonly identity: { readonly chainPem: string; readonly keyPem: string };
  readonly wrap: Omit<CallDeps, 'stopping'>;
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
    const deps: CallDeps = { ...o.wrap, stopping: this.stopping.signal };
    for (const { definition, handlers } of services(o.app))
      this.server.addService(definition, wrapService(definition, handlers, deps));
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
