/**
 * What this host proves to other hosts and what it asks of them: a certificate of our CA that names a host. Addresses
 * prove nothing, and a certificate alone opens nothing; tickets.ts decides that.
 */
import { constants } from 'node:crypto';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { peerName } from '@berth/shared/trust/names.ts';

export interface PeerIdentity {
  readonly hostId: string;
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

/** TLS 1.3 only, and no resumption: each connection proves its certificate anew. */
export const secureOptions = (identity: PeerIdentity): SecureContextOptions => ({
  cert: identity.certPem,
  key: identity.keyPem,
  ca: identity.caPem,
  minVersion: 'TLSv1.3',
  secureOptions: constants.SSL_OP_NO_TICKET,
});

/** Host id in the other side's verified certificate; undefined when it names no host. */
export function peerHostId(socket: TLSSocket): string | undefined {
  const name = socket.authorized ? peerName(socket.getPeerCertificate().subjectaltname) : undefined;
  return name?.kind === 'host' ? name.id : undefined;
}
