/**
 * The TLS server of the agent port: TLS 1.3 only, a client certificate of our CA that is not revoked, and no resumption,
 * so that each connection proves its certificate anew. Certificates and CAs change under open connections. Who may call
 * which method is caller.ts's.
 */
import { constants, type X509Certificate } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from 'node:tls';
import type { Log } from '@berth/shared/log/log.ts';
import { issuerAmong, serialOf } from '@berth/shared/trust/certificate.ts';
import { peerName } from '@berth/shared/trust/names.ts';

/** Asked anew for each connection; see enroll/host-identity.ts. */
export interface ServerIdentity {
  readonly installationId: string;
  readonly trust: { readonly control: readonly string[] };
  pair(purpose: 'control'): { readonly certPem: string; readonly keyPem: string } | undefined;
  isRevoked(serial: string): boolean;
  subscribe(listener: () => void): () => void;
}

export interface FrontOptions {
  readonly identity: ServerIdentity;
  readonly log: Log;
  readonly now: () => number;
  /** Takes over a connection whose certificate is good, or is only not valid by this host's clock. */
  readonly accept: (socket: TLSSocket) => void;
}

const HANDSHAKE_MS = 10_000;

/** Strangers are closed without a word, before a byte of HTTP is read. */
export class Front {
  private readonly server: Server;
  private readonly open = new Map<TLSSocket, string>();
  private readonly unfollow: () => void;

  constructor(private readonly o: FrontOptions) {
    const { identity } = o;
    this.server = createServer({
      ...contextOf(identity),
      requestCert: true,
      // checked in `greet`, which tells a wrong clock from a stranger
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      handshakeTimeout: HANDSHAKE_MS,
    });
    this.server.on('secureConnection', (socket) => this.greet(socket));
    this.server.on('tlsClientError', (e, socket) => {
      o.log.debug({ from: socket.remoteAddress, err: e }, 'a TLS handshake failed');
      socket.destroy();
    });
    this.unfollow = identity.subscribe(() => this.renew());
  }

  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject).listen({ host, port }, () => {
        this.server.off('error', reject).on('error', (e) => this.o.log.error({ err: e }, 'the agent port failed'));
        resolve((this.server.address() as AddressInfo).port);
      });
    });
  }

  /** No more connections. */
  close(): void {
    this.unfollow();
    this.server.close();
  }

  kill(): void {
    for (const socket of this.open.keys()) socket.destroy();
  }

  private greet(socket: TLSSocket): void {
    socket.on('error', () => socket.destroy());
    const certificate = socket.getPeerX509Certificate();
    const why = certificate ? this.fault(socket, certificate) : 'it showed no certificate';
    if (why !== undefined || !certificate) {
      this.o.log.warn({ from: socket.remoteAddress, why }, 'refused a connection to the agent port');
      return void socket.destroy();
    }
    this.open.set(socket, serialOf(certificate.serialNumber));
    socket.once('close', () => this.open.delete(socket));
    this.o.accept(socket);
  }

  private fault(socket: TLSSocket, certificate: X509Certificate): string | undefined {
    const { identity } = this.o;
    if (identity.isRevoked(certificate.serialNumber)) return 'its certificate was revoked';
    if (socket.authorized) return undefined;
    // what TLS complains of may hide another fault, so all but the dates is looked at again
    const dates = isOutOfDate(certificate, this.o.now());
    const name = peerName(certificate.subjectAltName);
    const ours = name?.kind === 'controller' && name.id === identity.installationId;
    if (dates && ours && issuerAmong(certificate, identity.trust.control) !== undefined) return undefined;
    return `its certificate is not good: ${String(socket.authorizationError)}`;
  }

  private renew(): void {
    const { identity, log } = this.o;
    this.server.setSecureContext(contextOf(identity));
    for (const [socket, serial] of this.open)
      if (identity.isRevoked(serial)) {
        log.warn({ from: socket.remoteAddress, serial }, 'cut a connection whose certificate was revoked');
        socket.destroy();
      }
  }
}

/** As the certificate's dates are by this host's clock. */
const isOutOfDate = (certificate: X509Certificate, nowMs: number): boolean =>
  nowMs < Date.parse(certificate.validFrom) || nowMs >= Date.parse(certificate.validTo);

function contextOf(identity: ServerIdentity): SecureContextOptions {
  const pair = identity.pair('control');
  return {
    ...(pair === undefined ? {} : { cert: pair.certPem, key: pair.keyPem }),
    ca: [...identity.trust.control],
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}
