/**
 * TLS of the public servers, in one place: 1.3 only, and the whole chain with the CA in it, because callers know only the
 * CA's pin. gRPC asks callers for a certificate and takes them without one as well; HTTPS does not ask, because a browser
 * would show it for whatever page makes it call. A renewed certificate is taken by the next connection; open ones go on.
 */
import { ServerCredentials } from '@grpc/grpc-js';

export interface ServerIdentity {
  readonly chainPem: string;
  readonly keyPem: string;
  /** Those that client certificates may come from. */
  readonly callerCas: readonly string[];
  subscribe(listener: () => void): () => void;
}

/** What Node's TLS server takes. */
export const tlsOptions = ({ chainPem, keyPem }: Pick<ServerIdentity, 'chainPem' | 'keyPem'>) => ({
  cert: [chainPem],
  key: [keyPem],
  minVersion: 'TLSv1.3' as const,
});

type Served = Omit<ServerIdentity, 'subscribe'>;

const withCallers = (identity: Served) => ({ ...tlsOptions(identity), ca: [...identity.callerCas] });

/** Node's own is two minutes: a long time for whoever only opens connections. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** grpc-js has no option for the least TLS version, nor for how long a handshake may take; its credentials take what Node's TLS server takes. */
export class LiveServerCredentials extends ServerCredentials {
  constructor(identity: Served) {
    const constructing = {
      ...{ requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' },
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    };
    super(constructing as ConstructorParameters<typeof ServerCredentials>[0], withCallers(identity));
  }
  renew(identity: Served): void {
    this.updateSecureContextOptions(withCallers(identity));
  }
  override _isSecure(): boolean {
    return true;
  }
  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}
