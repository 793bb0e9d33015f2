/** The public API as promises and async iterables. Loaded only by commands that call it. Errors are ClusterErrors. */
import { createSecureContext, type PeerCertificate } from 'node:tls';
import {
  type ChannelCredentials,
  type Client,
  connectivityState,
  credentials,
  Metadata,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  type ClientDuplexStream,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js';
import { AlarmServiceClient } from '@berth/proto/v1/alarm.ts';
import { AuditServiceClient } from '@berth/proto/v1/audit.ts';
import { ExportServiceClient } from '@berth/proto/v1/export.ts';
import { CaptureServiceClient } from '@berth/proto/v1/capture.ts';
import { SnapshotServiceClient } from '@berth/proto/v1/snapshot.ts';
import { BatchServiceClient } from '@berth/proto/v1/batch.ts';
import { CertificateServiceClient } from '@berth/proto/v1/certificate.ts';
import { ClusterServiceClient } from '@berth/proto/v1/cluster.ts';
import { ControllerServiceClient } from '@berth/proto/v1/controller.ts';
import { DisplayServiceClient, type VmDisplayInput, type VmDisplayOutput } from '@berth/proto/v1/display.ts';
import { EventServiceClient } from '@berth/proto/v1/event.ts';
import { HostLogServiceClient } from '@berth/proto/v1/hostlog.ts';
import { GuestServiceClient } from '@berth/proto/v1/guest.ts';
import { HostServiceClient } from '@berth/proto/v1/host.ts';
import { ImageServiceClient, type UploadImageRequest, type UploadImageResponse } from '@berth/proto/v1/image.ts';
import { JobServiceClient } from '@berth/proto/v1/job.ts';
import { PushServiceClient } from '@berth/proto/v1/push.ts';
import { NetworkServiceClient } from '@berth/proto/v1/network.ts';
import { PoolServiceClient } from '@berth/proto/v1/pool.ts';
import { ReviewServiceClient } from '@berth/proto/v1/review.ts';
import { StatisticsServiceClient } from '@berth/proto/v1/statistics.ts';
import { SupportServiceClient } from '@berth/proto/v1/support.ts';
import { TokenServiceClient } from '@berth/proto/v1/token.ts';
import { UserServiceClient } from '@berth/proto/v1/user.ts';
import { VmServiceClient, type VmConsoleInput, type VmConsoleOutput } from '@berth/proto/v1/vm.ts';
import { UploadServiceClient, type SendRequest, type SendResponse } from '@berth/proto/v1/upload.ts';
import { VolumeServiceClient } from '@berth/proto/v1/volume.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import { TRACEPARENT } from '@berth/shared/trace/context.ts';
import { currentTraceparent } from '@berth/shared/trace/trace.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { peerName } from '@berth/shared/trust/names.ts';
import type { Endpoint } from './config.ts';
import { unfit } from './unfit.ts';
import { patiently } from './patiently.ts';
import { controllerUnreachable } from './unreachable.ts';

type Unary<Q, R> = (
  request: Q,
  metadata: Metadata,
  options: { deadline: number },
  done: (e: ServiceError | null, r: R) => void,
) => ClientUnaryCall;
type Streaming<Q, R> = (request: Q, metadata: Metadata) => ClientReadableStream<R>;

/** Any unary call is answered within this, or the controller counts as unreachable. */
const DEADLINE_MS = 30_000;
/** A connection is made within this. A machine that takes it and says nothing more (its controller hangs) is not waited for longer. */
const CONNECT_MS = 10_000;

/** One connection, with what it shows fixed when it is made. */
interface Clients {
  readonly hosts: HostServiceClient;
  readonly hostLogs: HostLogServiceClient;
  readonly vms: VmServiceClient;
  readonly batches: BatchServiceClient;
  readonly displays: DisplayServiceClient;
  readonly guests: GuestServiceClient;
  readonly images: ImageServiceClient;
  readonly volumes: VolumeServiceClient;
  readonly captures: CaptureServiceClient;
  readonly snapshots: SnapshotServiceClient;
  readonly cluster: ClusterServiceClient;
  readonly pools: PoolServiceClient;
  readonly networks: NetworkServiceClient;
  readonly exports: ExportServiceClient;
  readonly uploads: UploadServiceClient;
  readonly jobs: JobServiceClient;
  readonly alarms: AlarmServiceClient;
  readonly events: EventServiceClient;
  readonly push: PushServiceClient;
  readonly reviews: ReviewServiceClient;
  readonly statistics: StatisticsServiceClient;
  readonly support: SupportServiceClient;
  readonly tokens: TokenServiceClient;
  readonly users: UserServiceClient;
  readonly audit: AuditServiceClient;
  readonly controller: ControllerServiceClient;
  readonly certificates: CertificateServiceClient;
}

export interface Api extends Clients {
  /** What the controller said of its CAs with the last answer; see follow-ca.ts. */
  toldCa(): string | undefined;
  endpoint(): Endpoint;
  /** Calls from now on go over a new connection, which shows this; streams that are open stay where they are. */
  use(endpoint: Endpoint): void;
  /** @param deadlineMs of what may take longer than other calls. */
  call<C extends Client, Q, R>(client: C, method: (c: C) => Unary<Q, R>, request: Q, deadlineMs?: number): Promise<R>;
  stream<C extends Client, Q, R>(
    client: C,
    method: (c: C) => Streaming<Q, R>,
    request: Q,
    signal: AbortSignal,
  ): AsyncIterable<R>;
  upload(signal: AbortSignal): {
    readonly sink: ClientWritableStream<UploadImageRequest>;
    readonly done: Promise<UploadImageResponse>;
  };
  /** Of a file that becomes a volume. */
  send(signal: AbortSignal): { readonly sink: ClientWritableStream<SendRequest>; readonly done: Promise<SendResponse> };
  console(): ClientDuplexStream<VmConsoleInput, VmConsoleOutput>;
  display(): ClientDuplexStream<VmDisplayInput, VmDisplayOutput>;
  translate(e: unknown): Error;
  close(): void;
}

export function createApi(from: Endpoint, now: () => number): Api {
  let endpoint = from;
  let clients = connect(from);
  const opened = [clients];
  const metadata = () => {
    const m = new Metadata();
    if (endpoint.token !== undefined) m.set('authorization', `Bearer ${endpoint.token}`);
    const traceparent = currentTraceparent();
    if (traceparent !== undefined) m.set(TRACEPARENT, traceparent);
    return m;
  };
  const translate = (e: unknown): Error => {
    if (!isServiceError(e)) return e as Error;
    const error = fromStatus(e, 'CONTROLLER_UNREACHABLE', 'the controller');
    if (error.reason === 'UNAUTHENTICATED') return unfit(endpoint, now()) ?? error;
    return error.reason === 'CONTROLLER_UNREACHABLE' ? controllerUnreachable(endpoint.controller, e.details) : error;
  };
  let toldCa: string | undefined;
  const hear = (s: StatusObject) => (toldCa = s.metadata.get('berth-ca')[0]?.toString() ?? toldCa);
  const own: Omit<Api, keyof Clients> = {
    toldCa: () => toldCa,
    endpoint: () => endpoint,
    use(next) {
      endpoint = next;
      opened.push((clients = connect(next)));
    },
    call: (client, method, request, deadlineMs = DEADLINE_MS) =>
      patiently(
        () =>
          new Promise((resolve, reject) => {
            const unconnected = systemClock.after(CONNECT_MS, () => {
              if (client.getChannel().getConnectivityState(false) === connectivityState.READY) return;
              reject(controllerUnreachable(endpoint.controller, 'deadline'));
              under.cancel();
            });
            const under = method(client).call(client, request, metadata(), { deadline: now() + deadlineMs }, (e, r) => {
              unconnected.cancel();
              if (e) reject(translate(e));
              else resolve(r);
            });
            under.on('status', hear);
          }),
        systemClock,
      ),
    stream: (client, method, request, signal) =>
      read(method(client).call(client, request, metadata()), signal, translate),
    upload(signal) {
      let sink!: ClientWritableStream<UploadImageRequest>;
      const done = new Promise<UploadImageResponse>((resolve, reject) => {
        sink = clients.images.uploadImage(metadata(), (e, r) => (e ? reject(translate(e)) : resolve(r)));
      });
      signal.addEventListener('abort', () => sink.cancel(), { once: true });
      return { sink, done };
    },
    send(signal) {
      let sink!: ClientWritableStream<SendRequest>;
      const done = new Promise<SendResponse>((resolve, reject) => {
        sink = clients.uploads.send(metadata(), (e, r) => (e ? reject(translate(e)) : resolve(r)));
      });
      signal.addEventListener('abort', () => sink.cancel(), { once: true });
      return { sink, done };
    },
    console: () => clients.vms.openVmConsole(metadata()),
    display: () => clients.displays.openVmDisplay(metadata()),
    translate,
    close: () => opened.forEach((c) => c.vms.close()),
  };
  return withCurrent(own, () => clients);
}

/** The clients of the newest connection, by name. */
function withCurrent(own: Omit<Api, keyof Clients>, clients: () => Clients): Api {
  const names = Object.keys(clients()) as (keyof Clients)[];
  const getters = names.map((name) => [name, { get: () => clients()[name], enumerable: true }] as const);
  return Object.defineProperties({ ...own }, Object.fromEntries(getters)) as Api;
}

function connect({ controller, ca, client }: Endpoint): Clients {
  const shown = client === undefined ? {} : { cert: client.certificate, key: client.key };
  const context = createSecureContext({ ca, ...shown, minVersion: 'TLSv1.3' });
  const tls = credentials.createFromSecureContext(context, { checkServerIdentity: isController });
  const make = <T>(
    Service: new (address: string, creds: ChannelCredentials, options: object) => T,
    channel?: object,
  ): T =>
    new Service(controller, tls, {
      'grpc.max_receive_message_length': 64 * 2 ** 20,
      'grpc.enable_http_proxy': 0, // one for the web has no way to machines that run hosts, and says nothing that helps
      // streams stay open for hours: find out that the other end is gone, and come back soon when it is there again
      'grpc.keepalive_time_ms': 20_000,
      'grpc.keepalive_timeout_ms': 10_000,
      'grpc.initial_reconnect_backoff_ms': 250,
      'grpc.max_reconnect_backoff_ms': 3_000,
      'grpc.ssl_target_name_override': 'berth-controller', // no address goes into the handshake: names are checked below
      ...channel,
    });
  const vms = make(VmServiceClient);
  const shared = { channelOverride: vms.getChannel() };
  return {
    vms,
    batches: make(BatchServiceClient, shared),
    displays: make(DisplayServiceClient, shared),
    guests: make(GuestServiceClient, shared),
    images: make(ImageServiceClient, shared),
    volumes: make(VolumeServiceClient, shared),
    captures: make(CaptureServiceClient, shared),
    snapshots: make(SnapshotServiceClient, shared),
    cluster: make(ClusterServiceClient, shared),
    pools: make(PoolServiceClient, shared),
    networks: make(NetworkServiceClient, shared),
    exports: make(ExportServiceClient, shared),
    uploads: make(UploadServiceClient, shared),
    hosts: make(HostServiceClient, shared),
    hostLogs: make(HostLogServiceClient, shared),
    jobs: make(JobServiceClient, shared),
    alarms: make(AlarmServiceClient, shared),
    events: make(EventServiceClient, shared),
    push: make(PushServiceClient, shared),
    reviews: make(ReviewServiceClient, shared),
    statistics: make(StatisticsServiceClient, shared),
    support: make(SupportServiceClient, shared),
    tokens: make(TokenServiceClient, shared),
    users: make(UserServiceClient, shared),
    audit: make(AuditServiceClient, shared),
    controller: make(ControllerServiceClient, shared),
    certificates: make(CertificateServiceClient, shared),
  };
}

/** The CA is pinned and belongs to Berth alone; the name in the certificate says what, not where. */
const isController = (_host: string, certificate: PeerCertificate): Error | undefined =>
  peerName(certificate.subjectaltname)?.kind === 'controller'
    ? undefined
    : new Error('the peer is not a Berth controller');

async function* read<R>(
  stream: ClientReadableStream<R>,
  signal: AbortSignal,
  translate: (e: unknown) => Error,
): AsyncIterable<R> {
  const stop = () => stream.cancel();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const message of stream) yield message as R;
  } catch (e) {
    if (!signal.aborted) throw translate(e);
  } finally {
    signal.removeEventListener('abort', stop);
    stream.cancel();
  }
}

const isServiceError = (e: unknown): e is ServiceError => e instanceof Error && 'code' in e && 'metadata' in e;
