/** Why a client certificate counts for nothing, in words: the controller only sees that none was shown that it could trust. */
import { X509Certificate } from 'node:crypto';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { issuerAmong, splitPem } from '@berth/shared/trust/certificate.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { Endpoint } from './config.ts';

/** Undefined when it looks good, or there is none. */
export function unfit({ client, ca }: Endpoint, nowMs: number): ClusterError | undefined {
  if (client === undefined) return undefined;
  const certificate = new X509Certificate(client.certificate);
  const over = nowMs - Date.parse(certificate.validTo);
  const early = Date.parse(certificate.validFrom) - nowMs;
  const say = (why: string) => new ClusterError('UNAUTHENTICATED', `${why}: log in again (berth login)`);
  if (over >= 0) return say(`your client certificate ran out ${formatAge(over)} ago`);
  if (early > 0)
    return new ClusterError(
      'UNAUTHENTICATED',
      `your client certificate is valid in ${formatAge(early)} only, by the clock of this machine: set it right`,
    );
  if (issuerAmong(certificate, splitPem(ca)) === undefined)
    return say('your client certificate comes from a CA that was replaced meanwhile');
  return undefined;
}
