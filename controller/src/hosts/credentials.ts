/** TLS towards agents: our certificate, our CA and nobody else's, and the peer's name checked by host id, never by address. */
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { ChannelCredentials, credentials } from '@grpc/grpc-js';
import { serialOf } from '@berth/shared/trust/certificate.ts';
import { peerName } from '@berth/shared/trust/names.ts';
import { REVOKED, WRONG_PEER } from './faults.ts';

/** Asked anew after each change; see trust/identity.ts. */
export interface TlsIdentity {
  readonly cas: { readonly control: readonly string[] };
  readonly chainPem: string;
  readonly keyPem: string;
  subscribe(listener: () => void): () => void;
}

/** One context for all hosts: 2,000 of them would cost real memory. */
export const agentContext = (identity: TlsIdentity): SecureContext =>
  createSecureContext({
    ca: [...identity.cas.control],
    cert: identity.chainPem,
    key: identity.keyPem,
    minVersion: 'TLSv1.3',
  });

export interface PeerChecks {
  /** Serials are lower-case hex. */
  isRevoked(serial: string): boolean;
  /** The certificate was found to be that host's. */
  verified(serial: string): void;
}

type Create = ChannelCredentials['_createSecureConnector'];

/**
 * Credentials of one connection. They keep hold of its socket, because grpc-js leaves one open whose handshake never ends,
 * and waits for a frozen peer to say goodbye: thousands of them a day for one hung host.
 */
export class AgentCredentials extends ChannelCredentials {
  private readonly sockets = new Set<Socket>();
  private readonly inner: ChannelCredentials;
  private ended = false;

  constructor(context: SecureContext, hostId: string, checks: PeerChecks) {
    super();
    this.inner = credentials.createFromSecureContext(context, {
      checkServerIdentity(_, certificate) {
        const peer = peerName(certificate.subjectaltname);
        if (peer?.kind !== 'host' || peer.id !== hostId)
          return new Error(`${WRONG_PEER}${peer ? `that of ${peer.kind} ${peer.id}` : 'not one of Berth'}`);
        const serial = serialOf(certificate.serialNumber);
        if (checks.isRevoked(serial)) return new Error(REVOKED);
        checks.verified(serial);
        return undefined;
      },
    });
  }

  /** Cuts whatever is still open. */
  end(): void {
    this.ended = true;
    for (const socket of this.sockets) socket.destroy();
  }

  override _isSecure(): boolean {
    return true;
  }
  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }
  override _createSecureConnector(...args: Parameters<Create>): ReturnType<Create> {
    const inner = this.inner._createSecureConnector(...args);
    return {
      connect: (socket) => {
        this.sockets.add(socket);
        socket.once('close', () => this.sockets.delete(socket));
        if (this.ended) socket.destroy();
        return inner.connect(socket);
      },
      waitForReady: () => inner.waitForReady(),
      getCallCredentials: () => inner.getCallCredentials(),
      destroy: () => inner.destroy(),
    };
  }
}
