/** Secrets that we hand out and never keep: made here, stored as hashes, compared in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto';

/** SHA-256 (hex). Enough for secrets of 256 random bits. */
export const hashSecret = (secret: string): string => createHash('sha256').update(secret).digest('hex');

const NOBODY = hashSecret('');

/** Takes the same time whether there is a stored hash or not. */
export function secretMatches(secret: string, storedHash: string | undefined): boolean {
  const same = timingSafeEqual(Buffer.from(hashSecret(secret), 'hex'), Buffer.from(storedHash ?? NOBODY, 'hex'));
  return same && storedHash !== undefined;
}
