/** Stands in for shared/src/runtime/random.ts, so that ids, secrets and choices come from the seed alone. */
import { seeded } from '../harness/fake-hosts.ts';

let next = seeded(0);

export function reseed(seed: number): void {
  next = seeded(seed);
}

export const systemRandom = { next: () => next() };
export const newBytes = (n: number): Buffer => Buffer.from(Array.from({ length: n }, () => Math.floor(next() * 256)));
export const newUuid = (): string =>
  newBytes(16)
    .toString('hex')
    .replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');
export const newTraceId = (): string => newBytes(8).toString('hex');
export const newSecret = (): string => newBytes(32).toString('base64url');
