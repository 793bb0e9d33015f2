/** A certificate that the controller has signed for a host or a command line. Plain data; the certificates themselves are not kept. */
import type { HostId, TokenId } from './ids.ts';

/** `issued`: signed, and not seen in service yet. `replaced`: still valid, but out of service. */
export type CertificateState = 'issued' | 'active' | 'replaced' | 'revoked';

export interface Certificate {
  /** Lower-case hex. */
  readonly serial: string;
  /** `control`: its agent port, `transfer`: between hosts, `controller`: our own, kept only when revoked, `client`: a command line. */
  readonly purpose: 'control' | 'transfer' | 'controller' | 'client';
  /** Empty for those that are no host's. The host may be gone. */
  readonly hostId: HostId | '';
  /** Name of the host when it was signed, or of the user. */
  readonly subject: string;
  /** SHA-256 (hex) of the public key of the CA that signed it. */
  readonly issuerPin: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly state: CertificateState;
  /** When it was revoked, by whom and why. */
  readonly revokedAtMs: number | undefined;
  readonly why: string | undefined;
  readonly client?: ClientOf;
}

/** What a client's certificate stands for. */
export interface ClientOf {
  /** It may be gone: then the certificate opens nothing. */
  readonly tokenId: TokenId;
  /** The same in all that were renewed from one another. */
  readonly loginId: string;
  /** SHA-256 (hex) of the certificate itself. */
  readonly fingerprint: string;
  /** What it is for. */
  readonly description: string;
}
