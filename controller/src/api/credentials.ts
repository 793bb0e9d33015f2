/** TLS of the public server: 1.3 only, and the whole chain with the CA in it, because callers know only the CA's pin. */
import { ServerCredentials } from '@grpc/grpc-js';

/** grpc-js has no option for the least TLS version; its credentials take what Node's TLS server takes. */
class Tls13 extends ServerCredentials {
  constructor(identity: { readonly chainPem: string; readonly keyPem: string }) {
    super({ requestCert: false, minVersion: 'TLSv1.3' } as ConstructorParameters<typeof ServerCredentials>[0], {
      cert: [identity.chainPem],
      key: [identity.keyPem],
      minVersion: 'TLSv1.3',
    });
  }
  override _isSecure(): boolean {
    return true;
  }
  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

export const serverCredentials = (identity: {
  readonly chainPem: string;
  readonly keyPem: string;
}): ServerCredentials => new Tls13(identity);
