/**
 * Telling a certificate fault from a dead host, by what grpc-js says about a connection that failed. Pure. A certificate
 * fault never means that the host is down.
 */
import type { Host } from '@berth/shared/model/host.ts';
import type { ErrorMeta } from '@berth/shared/errors/cluster-error.ts';
import { formatAge } from '@berth/shared/units/duration.ts';

export interface LinkFault {
  readonly kind: 'unreachable' | 'certificate-fault' | 'refused-us';
  readonly reason: string;
  /** It will pass within seconds. */
  readonly soon?: boolean;
}

/** Begins the error that our own check of the peer's name throws. */
export const WRONG_PEER = 'the certificate there is ';

/** What our own check says of a certificate that was revoked. */
export const REVOKED = 'its certificate was revoked';

const TRUST: readonly (readonly [RegExp, string])[] = [
  [/its certificate was revoked/, REVOKED],
  [
    /self-signed certificate|unable to get (local )?issuer|unable to verify the first certificate/,
    'its certificate comes from another authority: it was enrolled with another controller',
  ],
  [
    /certificate signature failure|invalid CA certificate|unsuitable certificate purpose/,
    'its certificate is forged or damaged',
  ],
  [
    /alert (certificate expired|expired certificate)/,
    "it finds the controller's certificate expired: compare the clocks",
  ],
  [
    /alert (unknown ca|bad certificate|certificate unknown|certificate required|access denied)/,
    "it does not accept the controller's certificate",
  ],
];

const REACH: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, 'nothing listens there: is the agent running?'],
  [/EHOSTUNREACH|ENETUNREACH/, 'no route to it'],
  [/ENOTFOUND|EAI_AGAIN|Name resolution failed/, 'its name does not resolve'],
  [/ETIMEDOUT/, 'it does not answer'],
  [/wrong version number|packet length too long|unknown protocol/, 'something answers there that is no Berth agent'],
  [/ECONNRESET|EPIPE|socket disconnected before secure|Connection dropped|socket hang up/, 'it closed the connection'],
];

const again = (name: string): string => ` Enrol it again: berth host re-enroll ${name}, then berth-agent enroll there.`;

/** What we find of its dates is by our own clock, which may be the wrong one. */
function dateFault(details: string, name: string, nowMs: number): LinkFault | undefined {
  const by = `by the clock of the controller, which says ${new Date(nowMs).toISOString().slice(0, 19)}Z`;
  if (/certificate has expired/.test(details))
    return { kind: 'certificate-fault', reason: `its certificate has expired ${by}. If that is right:${again(name)}` };
  if (/certificate is not yet valid/.test(details))
    return { kind: 'certificate-fault', reason: `its certificate is not valid yet ${by}. Set the clocks right.` };
  return undefined;
}

/** @param verified that the peer's certificate had been accepted when the connection failed. */
export function connectFault(
  details: string,
  verified: boolean,
  { name, address }: Pick<Host, 'name' | 'address'>,
  nowMs: number,
): LinkFault {
  const own = details.indexOf(WRONG_PEER);
  if (own >= 0) {
    const told = details.slice(own).replace(/\. Resolution note:[\s\S]*$/, '');
    return { kind: 'certificate-fault', reason: `${told}.${again(name)}` };
  }
  const dates = dateFault(details, name, nowMs);
  if (dates) return dates;
  const trust = TRUST.find(([pattern]) => pattern.test(details));
  if (trust) return { kind: 'certificate-fault', reason: `${trust[1]}.${again(name)}` };
  if (verified && /Failed to connect|ECONNRESET|EPIPE/.test(details))
    return {
      kind: 'refused-us',
      reason: `it closes the connection after the handshake: it does not accept the controller's certificate.${again(name)}`,
    };
  const reach = REACH.find(([pattern]) => pattern.test(details));
  return { kind: 'unreachable', reason: `${address}: ${reach?.[1] ?? shorten(details)}` };
}

const shorten = (details: string): string =>
  details
    .replace(/^No connection established\. Last error: (Error: )?/, '')
    .replace(/\. Resolution note:[\s\S]*$/, '')
    .replace(/\s+/g, ' ')
    .slice(0, 200);

/** What an agent says that finds our certificate not valid by its own clock. Undefined: it says nothing of the kind. */
export function clockFault(name: string, meta: ErrorMeta, nowMs: number): LinkFault | undefined {
  const hostClockMs = Number(meta.hostClockMs);
  if (meta.hostClockMs === undefined || !Number.isFinite(hostClockMs)) return undefined;
  const reason = `${clockWords(name, hostClockMs - nowMs)}: certificates are not valid there. Set the clocks right; it mends itself then.`;
  return { kind: 'certificate-fault', reason };
}

/** `the clock of h1 is 365 d ahead of the controller's`. @param aheadMs negative: behind. */
export const clockWords = (name: string, aheadMs: number): string =>
  `the clock of ${name} is ${formatAge(Math.abs(aheadMs))} ${aheadMs < 0 ? 'behind' : 'ahead of'} the controller's`;
