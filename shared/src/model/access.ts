/** Credentials as stored: hashes only. Plain data. */
import type { HostId, TokenId, UserId } from './ids.ts';

/** Each may do what those before it may. `metrics` reads what monitoring scrapes, and nothing else. */
export const ROLES = ['metrics', 'viewer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** A role, and where it holds. Both texts empty: everywhere, for what belongs to the whole installation too. */
export interface Grant {
  readonly role: Role;
  /** Name of a cluster. */
  readonly cluster: string;
  /** Labels that a VM or host must have: `team=a,tier!=db`. */
  readonly selector: string;
}

export const USER_KINDS = ['person', 'service'] as const;
export type UserKind = (typeof USER_KINDS)[number];

/** Somebody, or some program, that calls the public API. Its name never changes: tokens, jobs and records refer to it. */
export interface User {
  readonly id: UserId;
  readonly name: string;
  readonly kind: UserKind;
  readonly grants: readonly Grant[];
  /** Its tokens open nothing while it is. */
  readonly disabled: boolean;
  /** As passwords.ts writes it; undefined: no login by password. */
  readonly passwordHash: string | undefined;
  readonly createdAtMs: number;
  readonly generation: number;
}

/** A bearer token of the public API. On the wire: `<token id>.<secret>`. Client certificates stand for one. */
export interface Token {
  readonly id: TokenId;
  /** Name of its user. */
  readonly user: string;
  /** The most that it may do; its user's own roles are the other bound. */
  readonly role: Role;
  /** SHA-256 (hex) of the secret; it has 256 random bits, so a plain hash is enough. */
  readonly secretHash: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  /** Made by a login with a password. */
  readonly session?: boolean;
  /** What it is for. */
  readonly description?: string;
  /** Written behind: up to a minute late, lost in a crash. */
  readonly lastUsedAtMs?: number;
  readonly lastUsedFrom?: string;
}

/** Lets one host get one certificate. */
export interface JoinToken {
  readonly id: TokenId;
  readonly hostId: HostId;
  readonly secretHash: string;
  readonly expiresAtMs: number;
  /** SHA-256 (hex) of the public key it was used with, and the certificate given then. */
  readonly usedBy:
    | {
        readonly keyFingerprint: string;
        readonly certificatePem: string;
        /** Absent when no certificate for transfers was asked for. */
        readonly transfer?: { readonly keyFingerprint: string; readonly certificatePem: string };
      }
    | undefined;
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
