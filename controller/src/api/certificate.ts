/** CertificateService: certificates as people see them. */
import type { Certificate, CertificateServiceService } from '@berth/proto/v1/certificate.ts';
import type { Certificates, CertificateView } from '../app/certificates.ts';
import type { Identity } from '../trust/identity.ts';
import type { Handlers } from './call.ts';
import { fromWire, toWire } from './numbers.ts';

export const certificateHandlers = (
  certificates: Certificates,
  trust: Pick<Identity, 'cas'>,
): Handlers<CertificateServiceService> => ({
  listCertificates: (r) => ({ certificates: certificates.list(r.all).map(toCertificate) }),
  revokeCertificates: async (r, call) => ({
    revoked: (await certificates.revoke(r.certificate, call.user)).map(toCertificate),
  }),
  rotateCa: async (r, call) => {
    const overlapMs = fromWire('overlap_ms', r.overlapMs);
    const patienceMs = fromWire('patience_ms', r.patienceMs);
    return { jobId: await certificates.rotate({ overlapMs, patienceMs, leaveBehind: r.leaveBehind }, call.user) };
  },
  getTrust: () => ({ caPems: [...trust.cas.control] }),
});

const toCertificate = (c: CertificateView): Certificate => ({
  ...c,
  notBeforeMs: toWire(c.notBeforeMs),
  notAfterMs: toWire(c.notAfterMs),
  renewsAtMs: toWire(c.renewsAtMs),
});
