/** TLS towards agents: our certificate, our CA and nobody else's, and the peer's name checked by host id, never by address. */
import { createSecureContext, type SecureContext } from 'node:tls';
import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { peerName } from '@berth/shared/trust/names.ts';
import { WRONG_PEER } from './faults.ts';

export interface TlsIdentity {
  readonly caPem: string;
  readonly chainPem: string;
  readonly keyPem: string;
}

/** One context for all hosts: 2,000 of them would cost real memory. */
export const agentContext = (identity: TlsIdentity): SecureContext =>
  createSecureContext({
    ca: identity.caPem,
    cert: identity.chainPem,
    key: identity.keyPem,
    minVersion: 'TLSv1.3',
  });

/** @param verified called when the certificate was found to be that host's. */
export function agentCredentials(context: SecureContext, hostId: string, verified: () => void): ChannelCredentials {
  return credentials.createFromSecureContext(context, {
    checkServerIdentity(_, certificate) {
      const peer = peerName(certificate.subjectaltname);
      if (peer?.kind !== 'host' || peer.id !== hostId)
        return new Error(`${WRONG_PEER}${peer ? `that of ${peer.kind} ${peer.id}` : 'not one of Berth'}`);
      verified();
      return undefined;
    },
  });
}
