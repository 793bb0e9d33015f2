/** The server side of mutual TLS for grpc-js: TLS 1.3 only, and a client certificate of our CA. Who it names is caller.ts's. */
import { ServerCredentials } from '@grpc/grpc-js';

export interface ServerIdentity {
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

const context = (i: ServerIdentity) => ({
  ca: Buffer.from(i.caPem),
  cert: Buffer.from(i.certPem),
  key: Buffer.from(i.keyPem),
});

/** `ServerCredentials.createSsl` cannot set a lowest version without touching the whole process. */
export class MutualTls extends ServerCredentials {
  constructor(identity: ServerIdentity) {
    super({ requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' }, context(identity));
  }

  override _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}
