/**
/**
 * TLS of the public servers, in one place: 1.3 only, and the whole chain with the CA in it, because callers know only the
 * CA's pin. A renewed certificate is taken by the next connection; open ones go on.
 */
import { ServerCredentials } from '@grpc/grpc-js';

export interface ServerIdentity {
  readonly chainPem: string;
  readonly keyPem: string;
  subscribe(listener: () => void): () => void;
}

/** What Node's TLS server takes. */
export const tlsOptions = ({ chainPem, keyPem }: Pick<ServerIdentity, 'chainPem' | 'keyPem'>) => ({
  cert: [chainPem],
  key: [keyPem],
  minVersion: 'TLSv1.3' as const,
});

/** grpc-js has no option for the least TLS version; its credentials take what Node's TLS server takes. */
export class LiveServerCredentials extends ServerCredentials {
  constructor(identity: Pick<ServerIdentity, 'chainPem' | 'keyPem'>) {
    const constructing = { requestCert: false, minVersion: 'TLSv1.3' };
    super(constructing as ConstructorParameters<typeof ServerCredentials>[0], tlsOptions(identity));
  }
  renew(identity: Pick<ServerIdentity, 'chainPem' | 'keyPem'>): void {
    this.updateSecureContextOptions(tlsOptions(identity));
  }
  override _isSecure(): boolean {
    return true;
  }
  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}
