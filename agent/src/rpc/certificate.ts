/** CertificateService on the wire. */
import type { CertificateServiceServer, HostCertificates } from '@berth/proto/agent/v1/certificate.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Purpose } from '../enroll/check.ts';
import type { HostIdentity } from '../enroll/host-identity.ts';
import { toWire } from './encode.ts';
import type { Guard } from './guard.ts';

const MAX_PEM_CHARS = 32_768;

export function certificateService(guard: Guard, identity: HostIdentity, clock: Clock): CertificateServiceServer {
  const all = (): HostCertificates => ({
    certificates: (['control', 'transfer'] as const).flatMap((purpose) => {
      const pair = identity.pair(purpose);
      const unconfirmed = purpose === 'control' && identity.unconfirmed;
      return pair ? [{ purpose, certificatePem: pair.certPem, unconfirmed }] : [];
    }),
    trustDigest: identity.trustDigest,
    clockMs: toWire(clock.now()),
  });
  return {
    getCertificates: guard.read('GetCertificates', async () => all()),
    prepareCertificate: guard.change(
      'PrepareCertificate',
      (q) => q.fence,
      async (q) => {
        if (!/^[A-Za-z0-9._-]{1,100}$/.test(q.attempt))
          throw invalidArgument('the attempt must have a short, plain name');
        return { csrPem: await identity.prepare(purposeOf(q.purpose), q.attempt) };
      },
    ),
    installCertificate: guard.change(
      'InstallCertificate',
      (q) => q.fence,
      async (q) => {
        if (q.certificatePem.length > MAX_PEM_CHARS) throw invalidArgument('that is too long for a certificate');
        await identity.install(purposeOf(q.purpose), q.certificatePem);
        return all();
      },
    ),
    confirmCertificate: guard.change(
      'ConfirmCertificate',
      (q) => q.fence,
      async (q) => {
        await identity.confirm(purposeOf(q.purpose), q.serial);
        return all();
      },
    ),
    setTrust: guard.change(
      'SetTrust',
      (q) => q.fence,
      async (q) => {
        await identity.setTrust({ control: q.controlCas, transfer: q.transferCas, revoked: q.revokedSerials });
        return all();
      },
    ),
  };
}

function purposeOf(text: string): Purpose {
  if (text === 'control' || text === 'transfer') return text;
  throw invalidArgument(
    `${JSON.stringify(text.slice(0, 40))} is no purpose of a certificate: control and transfer are`,
  );
}
