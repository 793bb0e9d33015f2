/** CertificateService: certificates as people see them. */
import type { Certificate, CertificateServiceService } from '@berth/proto/v1/certificate.ts';
import type { Certificates, CertificateView } from '../app/certificates.ts';
import type { ClientCertificates } from '../app/client-certificates.ts';
import type { Identity } from '../trust/identity.ts';
import type { Call, Handlers } from './call.ts';
import { fromWire, toWire } from './numbers.ts';

export const certificateHandlers = (
  certificates: Certificates,
  clients: ClientCertificates,
  trust: Pick<Identity, 'cas'>,
): Handlers<CertificateServiceService> => ({
  listCertificates: (r, call) => {
    const all = isAdmin(call);
    const seen = certificates.list(r.all).filter((c) => all || c.purpose !== 'client' || c.subject === call.user);
    return { certificates: seen.map(toCertificate) };
  },
  revokeCertificates: async (r, call) => ({
    revoked: (await certificates.revoke(r.certificate, call.user, !isAdmin(call))).map(toCertificate),
  }),
  rotateCa: async (r, call) => {
    const overlapMs = fromWire('overlap_ms', r.overlapMs);
    const patienceMs = fromWire('patience_ms', r.patienceMs);
    return { jobId: await certificates.rotate({ overlapMs, patienceMs, leaveBehind: r.leaveBehind }, call.user) };
  },
  issueCertificate: async ({ csrPem, description }, call) => {
    const { certificatePem, renewsAtMs } = await clients.issue({ csrPem, description }, call);
    return { certificatePem, renewsAtMs: toWire(renewsAtMs) };
  },
  getTrust: () => ({ caPems: [...trust.cas.control] }),
});

const isAdmin = (call: Call): boolean => call.access.everywhere('admin');

const toCertificate = (c: CertificateView): Certificate => ({
  ...c,
  notBeforeMs: toWire(c.notBeforeMs),
  notAfterMs: toWire(c.notAfterMs),
  renewsAtMs: toWire(c.renewsAtMs),
});
