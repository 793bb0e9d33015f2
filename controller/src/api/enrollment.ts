/** EnrollmentService: an agent's first certificate. The only service, besides health, that answers without credentials. */
import type { EnrollmentServiceService } from '@berth/proto/v1/enrollment.ts';
import type { Enrollment } from '../app/enrollment.ts';
import type { Handlers } from './call.ts';

export const enrollmentHandlers = (
  enrollment: Enrollment,
  installationId: string,
): Handlers<EnrollmentServiceService> => ({
  enroll: async (r) => {
    const { host, certificatePem, transferCertificatePem, cas } = await enrollment.enroll(r);
    return {
      certificatePem,
      caPem: cas.control[0] ?? '',
      hostId: host.id,
      hostName: host.name,
      installationId,
      transferCertificatePem,
      transferCaPems: [...cas.transfer],
      caPems: [...cas.control],
    };
  },
});
