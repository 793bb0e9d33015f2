/** The gRPC server of the agent: mutual TLS, limits, keepalive. The services come from their own files. */
import { Server, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { callerCheck, type CallerOptions } from './caller.ts';
import { MutualTls, type ServerIdentity } from './credentials.ts';

export interface ServerOptions extends CallerOptions {
  readonly identity: ServerIdentity;
  readonly services: readonly (readonly [ServiceDefinition, UntypedServiceImplementation])[];
}

/** Requests are small but for uploads, whose chunks are at most 1 MiB. */
const MAX_REQUEST_BYTES = 4 * 2 ** 20;

export interface RpcServer {
  listen(host: string, port: number): Promise<number>;
  /** Lets calls end that are under way; cuts them off after `graceMs`. */
  close(): Promise<void>;
  kill(): void;
}

export function createRpcServer(o: ServerOptions): RpcServer {
  const credentials = new MutualTls(o.identity);
  const server = new Server({
    interceptors: [callerCheck(o)],
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': 1024,
    // finds a controller that vanished; grpc-js itself puts no bound on how often a client may ping
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 5_000,
    'grpc.so_reuseport': 0,
  });
  for (const [definition, implementation] of o.services) server.addService(definition, implementation);
  return {
    listen: (host, port) => bind(server, credentials, host, port),
    close: () => new Promise((resolve) => server.tryShutdown(() => resolve())),
    kill: () => server.forceShutdown(),
  };
}

function bind(server: Server, credentials: MutualTls, host: string, port: number): Promise<number> {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (e, bound) => {
      if (e === null) return resolve(bound);
      const why = /errors: \[(.*)\]$/.exec(e.message)?.[1] ?? e.message;
      reject(new ClusterError('BAD_STATE', `the agent cannot listen on ${address}: ${why}`));
    });
  });
}
