/**
 * Making X.509 certificates with the library that does it. The only file that calls @peculiar/x509; keys and times come
 * from the callers. Not for deciding who gets which name: authority.ts does that.
 */
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { newBytes } from '@berth/shared/runtime/random.ts';

type CryptoKey = webcrypto.CryptoKey;

const ECDSA_P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** A certificate is valid a little before it was made, for clocks that are a little behind. */
const SKEW_MS = 5 * 60_000;

export interface KeyPair {
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

export interface Signer {
  readonly certificatePem: string;
  readonly privateKey: CryptoKey;
}

/** What a leaf may be at a connection: `both` ends of it, or only the one that calls. */
export type Ends = 'both' | 'caller';

export interface LeafNames {
  readonly commonName: string;
  readonly uri: string;
  readonly dns: readonly string[];
  readonly ip: readonly string[];
}

export const newKeyPair = async (): Promise<KeyPair> =>
  (await webcrypto.subtle.generateKey(ECDSA_P256, true, ['sign', 'verify'])) as KeyPair;

export async function exportKey(key: CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key);
  return x509.PemConverter.encode(der, 'PRIVATE KEY') + '\n';
}

export const importKey = (pem: string): Promise<CryptoKey> =>
  webcrypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(pem), ECDSA_P256, true, ['sign']);

const serial = (): string => Buffer.concat([Buffer.from([0x01]), newBytes(15)]).toString('hex');

export interface Life {
  readonly nowMs: number;
  readonly lifetimeMs: number;
}

const validity = ({ nowMs, lifetimeMs }: Life, untilMs = Infinity) => ({
  notBefore: new Date(nowMs - Math.min(SKEW_MS, lifetimeMs / 4)),
  notAfter: new Date(Math.min(nowMs + lifetimeMs, untilMs)),
});

const pemOf = (certificate: x509.X509Certificate): string => certificate.toString('pem') + '\n';

/** A self-signed CA that may sign leaves only. */
export async function makeCa(keys: KeyPair, commonName: string, life: Life): Promise<string> {
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: [{ CN: [commonName] }],
    ...validity(life),
    signingAlgorithm: ECDSA_P256,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return pemOf(certificate);
}

const USAGES: Readonly<Record<Ends, x509.ExtendedKeyUsageType[]>> = {
  both: [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
  caller: [x509.ExtendedKeyUsage.clientAuth],
};

/** A certificate with exactly these names. It does not outlive its CA. */
export async function makeLeaf(
  ca: Signer,
  publicKey: CryptoKey | x509.PublicKey,
  names: LeafNames,
  life: Life,
  ends: Ends = 'both',
): Promise<string> {
  const issuer = new x509.X509Certificate(ca.certificatePem);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: [{ CN: [names.commonName] }],
    issuer: issuer.subjectName,
    ...validity(life, issuer.notAfter.getTime()),
    signingAlgorithm: ECDSA_P256,
    publicKey,
    signingKey: ca.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(USAGES[ends]),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: names.uri },
        ...names.dns.map((value) => ({ type: 'dns' as const, value })),
        ...names.ip.map((value) => ({ type: 'ip' as const, value })),
      ]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return pemOf(certificate);
}

/** Parses a request; throws what the parser throws. Names and extensions in it are for nobody. */
export const parseRequest = (pem: string): x509.Pkcs10CertificateRequest => new x509.Pkcs10CertificateRequest(pem);
