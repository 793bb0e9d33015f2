/**
 * Health as gRPC defines it (grpc.health.v1): which services are served. Outside of the wrapper of the other handlers, because it must
 * answer also while commits hang; that anyone may ask is in authorisation.ts.
 */
import { status, type sendUnaryData, type Server, type ServerWritableStream } from '@grpc/grpc-js';
import {
  HealthCheckResponse_ServingStatus as Serving,
  HealthService,
  type HealthCheckRequest,
  type HealthCheckResponse,
  type HealthListResponse,
} from '@berth/proto/grpc/health/v1/health.ts';

type Watcher = ServerWritableStream<HealthCheckRequest, HealthCheckResponse>;

export class Health {
  readonly #watchers = new Set<Watcher>();
  #status = Serving.NOT_SERVING;

  /** @param services what can be asked about; the empty name is the whole server. */
  constructor(private readonly services: ReadonlySet<string>) {}

  /** Says it to those who watch, too. */
  tell(serving: boolean): void {
    this.#status = serving ? Serving.SERVING : Serving.NOT_SERVING;
    for (const w of this.#watchers) w.write({ status: this.#status });
  }

  addTo(server: Pick<Server, 'addService'>): void {
    server.addService(HealthService, {
      check: ({ request }: { request: HealthCheckRequest }, done: sendUnaryData<HealthCheckResponse>) =>
        this.services.has(request.service)
          ? done(null, { status: this.#status })
          : done({ code: status.NOT_FOUND, details: `there is no service ${request.service}` }),
      list: (_: unknown, done: sendUnaryData<HealthListResponse>) => {
        const all = [...this.services].map((name) => [name, { status: this.#status }]);
        done(null, { statuses: Object.fromEntries(all) as HealthListResponse['statuses'] });
      },
      watch: (call: Watcher) => this.#watch(call),
    });
  }

  /** Of a service that is not there, the caller is told so and waits, as gRPC has it. */
  #watch(call: Watcher): void {
    if (!this.services.has(call.request.service)) return void call.write({ status: Serving.SERVICE_UNKNOWN });
    call.write({ status: this.#status });
    this.#watchers.add(call);
    call.on('cancelled', () => this.#watchers.delete(call));
  }
}
