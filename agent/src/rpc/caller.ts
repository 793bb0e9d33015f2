/**
 * Who may call: only the certificate that names the controller of our installation. An interceptor, so that no method can
 * be forgotten. Epochs and revisions are operations/fence.ts's.
 */
import {
  Metadata,
  ServerInterceptingCall,
  ServerListenerBuilder,
  status,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import type { Log } from '@berth/shared/log/log.ts';
import { toStatus } from '@berth/shared/errors/wire.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { controllerUri, peerName } from '@berth/shared/trust/names.ts';

export interface CallerOptions {
  readonly installationId: string;
  readonly log: Log;
  readonly now: () => number;
  /** Address of this host that the controller has reached. */
  readonly onReached: (localAddress: string) => void;
}

/** Undefined when the call may go on. */
function refusal(call: ServerInterceptingCallInterface, o: CallerOptions): ClusterError | undefined {
  const { installationId } = o;
  const { sslPeerCertificate } = call.getAuthContext();
  if (sslPeerCertificate === undefined) return wrongClock(o.now());
  const name = peerName(sslPeerCertificate.subjectaltname);
  if (name?.kind === 'controller' && name.id === installationId) return undefined;
  const who = name ? `${name.kind} ${name.id}` : 'a certificate without a name of Berth';
  return new ClusterError(
    'PERMISSION_DENIED',
    `only ${controllerUri(installationId)} may call this agent; the caller is ${who}`,
  );
}

/** Only a controller of ours gets so far without a certificate that is valid now; see credentials.ts. */
const wrongClock = (nowMs: number): ClusterError =>
  new ClusterError(
    'UNAUTHENTICATED',
    `the clock of this host says ${new Date(nowMs).toISOString()}, when the controller's certificate is not valid`,
    { hostClockMs: String(nowMs) },
  );

export function callerCheck(o: CallerOptions): ServerInterceptor {
  return (method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        const refused = refusal(call, o);
        const listener = new ServerListenerBuilder().withOnReceiveMetadata((metadata, go) => {
          if (!refused) return go(metadata);
          o.log.warn({ method: method.path, from: call.getPeer() }, refused.message);
          const { code, details, metadata: trailers } = toStatus(refused, () => undefined);
          call.sendStatus({
            code: code ?? status.PERMISSION_DENIED,
            details: details ?? '',
            metadata: trailers ?? new Metadata(),
          });
        });
        const { localAddress } = call.getConnectionInfo();
        if (!refused && localAddress !== undefined) o.onReached(localAddress);
        next(listener.build());
      },
    });
}
