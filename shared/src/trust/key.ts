/** A key pair (P-256) and its certificate request, as agents and command lines make them. The private key stays with its maker. */
import { webcrypto, createPrivateKey, createPublicKey } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A new private key, PKCS #8 PEM. */
export async function newKeyPem(): Promise<string> {
  const { privateKey } = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString();
}

/** PKCS #10, PEM. The controller sets the names; those in here count for nothing. */
export async function certificateRequest(keyPem: string): Promise<string> {
  const csr = await x509.Pkcs10CertificateRequestGenerator.create(
    { name: 'CN=berth', signingAlgorithm: ALGORITHM, keys: await keyPair(keyPem) },
    webcrypto,
  );
  return csr.toString('pem');
}

async function keyPair(keyPem: string): Promise<webcrypto.CryptoKeyPair> {
  const pkcs8 = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(keyPem).export({ type: 'spki', format: 'der' });
  const { subtle } = webcrypto;
  return {
    privateKey: await subtle.importKey('pkcs8', pkcs8, ALGORITHM, true, ['sign']),
    publicKey: await subtle.importKey('spki', spki, ALGORITHM, true, ['verify']),
  };
}
