/** Randomness. The only file that asks for it. */
import { randomBytes, randomUUID } from 'node:crypto';

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}

export const systemRandom: Random = { next: () => Math.random() };

/** The same numbers for the same text (mulberry32 over FNV-1a): what is chosen so is chosen again. Never for secrets. */
export function randomOf(text: string): Random {
  let a = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) a = Math.imul(a ^ text.charCodeAt(i), 0x01000193);
  return {
    next() {
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), 1 | a);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    },
  };
}

/** A v4 UUID, for libvirt domains. */
export const newUuid = (): string => randomUUID();
export const newTraceId = (): string => randomBytes(8).toString('hex');
/** 256 bits, URL-safe: tokens, tickets. */
export const newSecret = (): string => randomBytes(32).toString('base64url');
export const newBytes = (n: number): Buffer => randomBytes(n);
