/**
 * Reading a certificate request from a stranger: size, form, kind of key, and proof that the sender holds the key. Only
 * the key is taken from it; the names in it are ignored.
 */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import type { PublicKey } from '@peculiar/x509';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { parseRequest } from './x509.ts';

const MAX_CSR_CHARS = 16_384;
const ARMOUR =
  /^-----BEGIN (NEW )?CERTIFICATE REQUEST-----\s[A-Za-z0-9+/=\s]+-----END (NEW )?CERTIFICATE REQUEST-----\s*$/;

export interface CheckedRequest {
  readonly publicKey: PublicKey;
  /** SHA-256 (hex) of the subjectPublicKeyInfo. */
  readonly keyFingerprint: string;
}

/** INVALID_ARGUMENT unless the request is well-formed, has an acceptable key, and is signed with it. */
export async function checkRequest(pem: string): Promise<CheckedRequest> {
  if (pem.length > MAX_CSR_CHARS)
    throw invalidArgument(`the certificate request is too large (${pem.length} characters; at most ${MAX_CSR_CHARS})`);
  if (!ARMOUR.test(pem.trim())) throw invalidArgument('the certificate request is not PEM (PKCS #10)');
  try {
    const request = parseRequest(pem);
    const spki = Buffer.from(request.publicKey.rawData);
    const problem = keyProblem(createPublicKey({ key: spki, format: 'der', type: 'spki' }));
    if (problem !== undefined) throw invalidArgument(`the certificate request has ${problem}`);
    if (!(await request.verify()))
      throw invalidArgument('the certificate request is not signed with the key that it names');
    return { publicKey: request.publicKey, keyFingerprint: createHash('sha256').update(spki).digest('hex') };
  } catch (e) {
    if (e instanceof Error && e.name === 'ClusterError') throw e;
    throw invalidArgument('the certificate request cannot be read (PKCS #10)', {}, e);
  }
}

const CURVES: ReadonlySet<string | undefined> = new Set(['prime256v1', 'secp384r1']);

function keyProblem(key: KeyObject): string | undefined {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return undefined;
    case 'ec':
      return CURVES.has(details?.namedCurve) ? undefined : `a key on an unusual curve; P-256 is expected`;
    case 'rsa': {
      const bits = details?.modulusLength ?? 0;
      return bits >= 2048 && bits <= 8192 ? undefined : `an RSA key of ${bits} bits; 2048 to 8192 are accepted`;
    }
    default:
      return `a ${key.asymmetricKeyType ?? 'strange'} key; P-256, P-384, Ed25519 and RSA are accepted`;
  }
}
