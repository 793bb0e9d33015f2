/** Passwords: hashed with scrypt, compared in constant time. Which one is whose, and how often one may guess, is logins.ts's. */
import { scrypt, timingSafeEqual, type ScryptOptions } from 'node:crypto';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { newBytes } from '@berth/shared/runtime/random.ts';

/** 32 MiB and about 60 ms for each guess. */
const COST = { N: 32_768, r: 8, p: 1 } as const;
const KEY_BYTES = 32;
const LEAST = 10;
const MOST_BYTES = 1_024;

/** INVALID_ARGUMENT for what is too short to keep guessers out. */
export function checkPassword(password: string): string {
  if ([...password].length < LEAST) throw invalidArgument(`a password has ${LEAST} letters or more`);
  if (Buffer.byteLength(password) > MOST_BYTES) throw invalidArgument('a password has at most 1024 bytes');
  return password;
}

/** `scrypt$N$r$p$salt$key`, so that old ones can be read when the cost grows. */
export async function hashPassword(password: string): Promise<string> {
  const salt = newBytes(16);
  const key = await derive(password, salt, COST);
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64url'), key.toString('base64url')].join('$');
}

/** @param stored undefined: takes as long, and is false. */
export async function passwordMatches(password: string, stored: string | undefined): Promise<boolean> {
  const [, N, r, p, salt = '', key = ''] = (stored ?? NOBODY).split('$');
  const wanted = Buffer.from(key, 'base64url');
  const given = await derive(password, Buffer.from(salt, 'base64url'), { N: Number(N), r: Number(r), p: Number(p) });
  return timingSafeEqual(given, wanted) && stored !== undefined;
}

const NOBODY = `scrypt$${COST.N}$${COST.r}$${COST.p}$AAAA$${Buffer.alloc(KEY_BYTES).toString('base64url')}`;

function derive(password: string, salt: Buffer, cost: ScryptOptions): Promise<Buffer> {
  const options = { ...cost, maxmem: 128 * 1024 * 1024 };
  return new Promise((resolve, reject) =>
    scrypt(Buffer.from(password.slice(0, MOST_BYTES)), salt, KEY_BYTES, options, (e, key) =>
      e ? reject(e) : resolve(key),
    ),
  );
}
