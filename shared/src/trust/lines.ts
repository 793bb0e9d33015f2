/**
 * Join tokens (for agents) and login lines (for the command line): one line of text that carries where the controller is,
 * the pin of its CA, and a secret. They travel by file or standard input, never in argv.
 */
import * as z from 'zod';
import { invalidArgument } from '../errors/cluster-error.ts';

const Join = z.strictObject({
  /** host:port of the public API. */
  controller: z.string().min(3),
  /** SHA-256 (hex) of the CA's subjectPublicKeyInfo. */
  caPin: z.string().regex(/^[0-9a-f]{64}$/),
  tokenId: z.string().min(1),
  secret: z.string().min(20),
});
const Login = z.strictObject({
  controller: z.string().min(3),
  caPin: z.string().regex(/^[0-9a-f]{64}$/),
  /** Bearer token: `<token id>.<secret>`. */
  token: z.string().min(20),
});
export type JoinLine = z.infer<typeof Join>;
export type LoginLine = z.infer<typeof Login>;

const encode = (kind: string, v: unknown) => `berth-${kind}:1:${Buffer.from(JSON.stringify(v)).toString('base64url')}`;

function decode<T>(kind: string, schema: z.ZodType<T>, line: string): T {
  const m = new RegExp(`^berth-${kind}:1:([A-Za-z0-9_-]+)$`).exec(line.trim());
  const bad = () =>
    invalidArgument(`this is not a berth ${kind} token: a line that begins with berth-${kind}:1: is expected`);
  if (!m?.[1]) throw bad();
  try {
    return schema.parse(JSON.parse(Buffer.from(m[1], 'base64url').toString()));
  } catch {
    throw bad();
  }
}

export const encodeJoinLine = (v: JoinLine): string => encode('join', v);
export const decodeJoinLine = (line: string): JoinLine => decode('join', Join, line);
export const encodeLoginLine = (v: LoginLine): string => encode('login', v);
export const decodeLoginLine = (line: string): LoginLine => decode('login', Login, line);
