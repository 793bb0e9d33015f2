/** Randomness. The only file that asks for it. */
import { randomBytes, randomUUID } from 'node:crypto';

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}

export const systemRandom: Random = { next: () => Math.random() };

/** A v4 UUID, for libvirt domains. */
export const newUuid = (): string => randomUUID();
export const newTraceId = (): string => randomBytes(8).toString('hex');
/** 256 bits, URL-safe: tokens, tickets. */
export const newSecret = (): string => randomBytes(32).toString('base64url');
export const newBytes = (n: number): Buffer => randomBytes(n);
