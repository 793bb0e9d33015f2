/** Why a client certificate counts for nothing, in words: the controller only sees that none was shown that it could trust. */
import { X509Certificate } from 'node:crypto';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { Endpoint } from './config.ts';

/** Undefined when it looks good, or there is none. */
export function unfit({ client }: Endpoint, nowMs: number): ClusterError | undefined {
  if (client === undefined) return undefined;
  const certificate = new X509Certificate(client.certificate);
  const over = nowMs - Date.parse(certificate.validTo);
  const early = Date.parse(certificate.validFrom) - nowMs;
  if (over >= 0)
    return new ClusterError(
      'UNAUTHENTICATED',
      `your client certificate ran out ${formatAge(over)} ago: log in again (berth login)`,
    );
  if (early > 0)
    return new ClusterError(
      'UNAUTHENTICATED',
      `your client certificate is valid in ${formatAge(early)} only: if the clock of this machine is right, the controller's was ahead when it was made; log in again (berth login)`,
    );
  return undefined;
}
