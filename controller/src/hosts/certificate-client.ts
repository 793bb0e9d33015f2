/** What the controller asks of an agent about its certificates, over gRPC: encode, call, decode. No decisions. */
import type { ServiceError } from '@grpc/grpc-js';
import { CertificateServiceService as Certificates, type HostCertificates } from '@berth/proto/agent/v1/certificate.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import type { CaPurpose } from '../trust/authority.ts';
import type { Connection, Method } from './connection.ts';
import type { FenceSource } from './fence.ts';

const TIMEOUT_MS = 15_000;
const MAX_PEM_CHARS = 32_768;

export interface HostCertificatesView {
  readonly pems: ReadonlyMap<CaPurpose, string>;
  /** Installed, and not met over a new connection yet. */
  readonly unconfirmed: ReadonlySet<CaPurpose>;
  readonly trustDigest: string;
  readonly clockMs: number;
}

export interface CertificateClientOptions {
  readonly name: () => string;
  readonly connection: () => Connection | undefined;
  readonly fence: FenceSource;
}

export class CertificateClient {
  constructor(private readonly o: CertificateClientOptions) {}

  async get(): Promise<HostCertificatesView> {
    return toView(await this.call(Certificates.getCertificates, {}));
  }
  async prepare(purpose: CaPurpose, attempt: string): Promise<string> {
    const { csrPem } = await this.call(Certificates.prepareCertificate, { fence: this.o.fence(), purpose, attempt });
    return csrPem;
  }
  async install(purpose: CaPurpose, certificatePem: string): Promise<HostCertificatesView> {
    return toView(await this.call(Certificates.installCertificate, { fence: this.o.fence(), purpose, certificatePem }));
  }
  async confirm(purpose: CaPurpose, serial: string): Promise<void> {
    await this.call(Certificates.confirmCertificate, { fence: this.o.fence(), purpose, serial });
  }
  async setTrust(t: {
    control: readonly string[];
    transfer: readonly string[];
    revoked: readonly string[];
  }): Promise<void> {
    await this.call(Certificates.setTrust, {
      fence: this.o.fence(),
      controlCas: [...t.control],
      transferCas: [...t.transfer],
      revokedSerials: [...t.revoked],
    });
  }

  private async call<Req, Res>(m: Method<Req, Res>, request: Req): Promise<Res> {
    const connection = this.o.connection();
    const name = this.o.name();
    if (!connection) throw new ClusterError('HOST_UNREACHABLE', `host ${name} is not connected`, { phase: 'before' });
    try {
      return await connection.unary(m, request, TIMEOUT_MS);
    } catch (e) {
      throw isClusterError(e) ? e : fromStatus(e as ServiceError, 'HOST_UNREACHABLE', `host ${name}`);
    }
  }
}

/** An agent may say anything: only what is known and short is taken. */
function toView(c: HostCertificates): HostCertificatesView {
  const known = c.certificates.filter(
    (x) => (x.purpose === 'control' || x.purpose === 'transfer') && x.certificatePem.length <= MAX_PEM_CHARS,
  );
  return {
    pems: new Map(known.map((x) => [x.purpose as CaPurpose, x.certificatePem])),
    unconfirmed: new Set(known.filter((x) => x.unconfirmed).map((x) => x.purpose as CaPurpose)),
    trustDigest: c.trustDigest.slice(0, 64),
    clockMs: Number(c.clockMs),
  };
}
