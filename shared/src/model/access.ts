/** Credentials as stored: hashes only. Plain data. */
import type { HostId, TokenId } from './ids.ts';

/** Each may do what those before it may. */
export const ROLES = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** A bearer token of the public API. On the wire: `<token id>.<secret>`. */
export interface Token {
  readonly id: TokenId;
  readonly user: string;
  readonly role: Role;
  /** SHA-256 (hex) of the secret; it has 256 random bits, so a plain hash is enough. */
  readonly secretHash: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

/** Lets one host get one certificate. */
export interface JoinToken {
  readonly id: TokenId;
  readonly hostId: HostId;
  readonly secretHash: string;
  readonly expiresAtMs: number;
  /** SHA-256 (hex) of the public key it was used with, and the certificate given then. */
  readonly usedBy: { readonly keyFingerprint: string; readonly certificatePem: string } | undefined;
}

/** What is to be removed from a host before it counts as up again. */
export interface CleanupDebt {
  readonly id: string;
  readonly hostId: HostId;
  readonly kind: 'domain' | 'volume' | 'image' | 'operation';
  /** UUID, volume id, digest or operation id. */
  readonly target: string;
  /** Of a domain: the vm id in its metadata. */
  readonly vmId: string | undefined;
  readonly why: string;
}
