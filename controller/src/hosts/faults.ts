/**
 * Telling a certificate fault from a dead host, by what grpc-js says about a connection that failed. Pure. A certificate
 * fault never means that the host is down.
 */
export interface LinkFault {
  readonly kind: 'unreachable' | 'certificate-fault' | 'refused-us';
  readonly reason: string;
  /** It will pass within seconds. */
  readonly soon?: boolean;
}

/** Begins the error that our own check of the peer's name throws. */
export const WRONG_PEER = 'the certificate there is ';

const TRUST: readonly (readonly [RegExp, string])[] = [
  [/certificate has expired/, 'its certificate has expired'],
  [/certificate is not yet valid/, 'its certificate is not valid yet: compare the clocks'],
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

const AGAIN = ' Enrol it again: berth host token NAME, then berth-agent enroll.';

/** @param verified that the peer's certificate had been accepted when the connection failed. */
export function connectFault(details: string, verified: boolean, address: string): LinkFault {
  const own = details.indexOf(WRONG_PEER);
  if (own >= 0) {
    const told = details.slice(own).replace(/\. Resolution note:[\s\S]*$/, '');
    return { kind: 'certificate-fault', reason: `${told}.${AGAIN}` };
  }
  const trust = TRUST.find(([pattern]) => pattern.test(details));
  if (trust) return { kind: 'certificate-fault', reason: `${trust[1]}.${AGAIN}` };
  if (verified && /Failed to connect|ECONNRESET|EPIPE/.test(details))
    return {
      kind: 'refused-us',
      reason: `it closes the connection after the handshake: it does not accept the controller's certificate.${AGAIN}`,
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
