/**
 * Whether a certificate may be put into service on this host: for its key, its name and purpose, signed by a CA that is
 * trusted for that purpose, and valid by this host's own clock. Pure.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { issuerAmong, readCertificate } from '@berth/shared/trust/certificate.ts';
import { hostUri, peerName, transferUri } from '@berth/shared/trust/names.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import type { Pair } from './identity-store.ts';

export type Purpose = 'control' | 'transfer';

const NAME_OF = { control: hostUri, transfer: transferUri } as const;
const KIND_OF = { control: 'host', transfer: 'transfer' } as const;

export interface Wanted {
  readonly purpose: Purpose;
  readonly hostId: string;
  readonly cas: readonly string[];
  readonly nowMs: number;
}

/** @throws INVALID_ARGUMENT with the first thing that is wrong. */
export function checkPair(pair: Pair, w: Wanted): void {
  const certificate = parse(pair.certPem);
  const wrong = (what: string) =>
    invalidArgument(`the ${w.purpose} certificate ${what}; the one before stays in service`);
  if (!certificate.checkPrivateKey(createPrivateKey(pair.keyPem))) throw wrong("is not for this host's key");
  const name = peerName(certificate.subjectAltName);
  if (name?.kind !== KIND_OF[w.purpose] || name.id !== w.hostId)
    throw wrong(`is for another name than ${NAME_OF[w.purpose](w.hostId)}`);
  if (issuerAmong(certificate, w.cas) === undefined) throw wrong('comes from a CA that this host does not trust');
  const { notBeforeMs, notAfterMs } = readCertificate(pair.certPem);
  const by = `by the clock of this host, which says ${new Date(w.nowMs).toISOString()}`;
  if (w.nowMs < notBeforeMs) throw wrong(`is not valid for another ${formatDuration(notBeforeMs - w.nowMs)} ${by}`);
  if (w.nowMs >= notAfterMs) throw wrong(`expired ${formatDuration(w.nowMs - notAfterMs)} ago ${by}`);
}

function parse(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (e) {
    throw invalidArgument('that is no certificate', {}, e);
  }
}
