/** The gRPC server of the agent: limits, keepalive. TLS is credentials.ts's; the services come from their own files. */
import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { callerCheck, type CallerOptions } from './caller.ts';
import { Front, type ServerIdentity } from './credentials.ts';

export interface ServerOptions extends CallerOptions {
  readonly identity: ServerIdentity;
  readonly now: () => number;
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
  const server = new Server({
    interceptors: [callerCheck(o)],
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': 1024,
    // a record of each stream and message, which nobody asks for
    'grpc.enable_channelz': 0,
    // finds a controller that vanished; grpc-js itself puts no bound on how often a client may ping
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 5_000,
  });
  for (const [definition, implementation] of o.services) server.addService(definition, implementation);
  // TLS has been done by then; grpc-js's own TLS server would tell nobody why it refused, and can't cut one connection
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const { identity, log, now } = o;
  const front = new Front({ identity, log, now, accept: (socket) => injector.injectConnection(socket) });
  return {
    listen: (host, port) => bind(front, host, port),
    close: () => {
      front.close();
      return new Promise((resolve) => server.tryShutdown(() => resolve()));
    },
    kill: () => {
      front.kill();
      server.forceShutdown();
    },
  };
}

async function bind(front: Front, host: string, port: number): Promise<number> {
  try {
    return await front.listen(host, port);
  } catch (e) {
    const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    throw new ClusterError('BAD_STATE', `the agent cannot listen on ${address}: ${(e as Error).message}`);
  }
}
