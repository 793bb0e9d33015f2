/** Certificate requests, as an agent would make them; for tests. */
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { exportKey } from './x509.ts';

export type KeyAlgorithm = webcrypto.RsaHashedKeyGenParams | webcrypto.EcKeyGenParams | { readonly name: 'Ed25519' };

const P256: webcrypto.EcKeyGenParams = { name: 'ECDSA', namedCurve: 'P-256' };

/** Asks for the controller's own name, which must not be granted. */
export async function newRequest(algorithm: KeyAlgorithm = P256): Promise<{ csrPem: string; keyPem: string }> {
  const params = { hash: 'SHA-256', ...algorithm };
  const keys = (await webcrypto.subtle.generateKey(params, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=urn:berth:controller:evil',
    keys,
    signingAlgorithm: params,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: 'urn:berth:controller:evil' }])],
  });
  return { csrPem: request.toString('pem'), keyPem: await exportKey(keys.privateKey) };
}
