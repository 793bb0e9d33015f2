/** A certificate that the controller has signed for a host. Plain data; the certificates themselves are not kept. */
import type { HostId } from './ids.ts';

/** `issued`: signed, and not seen in service yet. `replaced`: still valid, but out of service. */
export type CertificateState = 'issued' | 'active' | 'replaced' | 'revoked';

export interface Certificate {
  /** Lower-case hex. */
  readonly serial: string;
  /** `control`: its agent port, `transfer`: between hosts, `controller`: our own, kept only when revoked. */
  readonly purpose: 'control' | 'transfer' | 'controller';
  /** Empty for the controller's. The host may be gone. */
  readonly hostId: HostId | '';
  /** Name of the host when it was signed. */
  readonly subject: string;
  /** SHA-256 (hex) of the public key of the CA that signed it. */
  readonly issuerPin: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly state: CertificateState;
  /** When it was revoked, by whom and why. */
  readonly revokedAtMs: number | undefined;
  readonly why: string | undefined;
}
