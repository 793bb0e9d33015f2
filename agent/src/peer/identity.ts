/**
 * What this host proves to other hosts and what it asks of them: a transfer certificate of our transfer CA. Those of the
 * agent port come from another CA and open nothing here. Addresses prove nothing, and a certificate alone opens nothing;
 * tickets.ts decides that.
 */
import { constants } from 'node:crypto';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { peerName } from '@berth/shared/trust/names.ts';

/** Asked anew for each connection; see enroll/host-identity.ts. */
export interface PeerIdentity {
  readonly hostId: string;
  readonly trust: { readonly transfer: readonly string[] };
  pair(purpose: 'transfer'): { readonly certPem: string; readonly keyPem: string } | undefined;
  isRevoked(serial: string): boolean;
  subscribe(listener: () => void): () => void;
}

/** TLS 1.3 only, and no resumption: each connection proves its certificate anew. Undefined: this host has none yet. */
export function secureOptions(identity: PeerIdentity): SecureContextOptions | undefined {
  const pair = identity.pair('transfer');
  if (pair === undefined) return undefined;
  return {
    cert: pair.certPem,
    key: pair.keyPem,
    ca: [...identity.trust.transfer],
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/** Host id and serial in the other side's verified certificate; undefined when it names no host for transfers. */
export function peerHost(socket: TLSSocket): { readonly hostId: string; readonly serial: string } | undefined {
  if (!socket.authorized) return undefined;
  const { subjectaltname, serialNumber } = socket.getPeerCertificate();
  const name = peerName(subjectaltname);
  return name?.kind === 'transfer' ? { hostId: name.id, serial: serialNumber } : undefined;
}

/** Ends the connection as soon as the other side's certificate is revoked. */
export function cutWhenRevoked(socket: TLSSocket, serial: string, identity: PeerIdentity): void {
  const end = identity.subscribe(() => {
    if (identity.isRevoked(serial)) socket.destroy(new Error('its certificate was revoked'));
  });
  socket.once('close', end);
}
