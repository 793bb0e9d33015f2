/**
 * Certificates for tests: a CA in memory and whatever it is asked to sign, also what a sound CA would refuse (expired,
 * nameless). Not the controller's CA; that one is under test itself.
 */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const KEY = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

export interface IssueOptions {
  /** The Berth name: `urn:berth:host:…`. Empty: a certificate without one. */
  readonly uri: string;
  readonly commonName?: string;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export interface TestIdentity {
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

export interface TestCa {
  readonly caPem: string;
  readonly keyPem: string;
  issue(options: IssueOptions): Promise<TestIdentity>;
  /** What a host of this id presents to the controller. */
  host(hostId: string): Promise<TestIdentity & { readonly hostId: string }>;
  /** What it presents to other hosts: of another CA, which signs anything too. */
  issueTransfer(options: IssueOptions): Promise<TestIdentity>;
  transfer(hostId: string, dates?: Pick<IssueOptions, 'notBefore' | 'notAfter'>): Promise<HostTestIdentity>;
}

export type HostTestIdentity = TestIdentity & { readonly hostId: string };

/** A new CA, with one for transfers beside it; two of them do not trust each other. */
export async function makeCa(commonName = 'Berth test CA'): Promise<TestCa> {
  const [control, transfer] = [await makeOne(commonName), await makeOne(`${commonName} for transfers`)];
  return {
    ...control,
    host: async (hostId) => ({
      ...(await control.issue({ uri: `urn:berth:host:${hostId}`, commonName: hostId })),
      hostId,
    }),
    issueTransfer: transfer.issue,
    transfer: async (hostId, dates = {}) => ({
      ...(await transfer.issue({ uri: `urn:berth:transfer:${hostId}`, commonName: hostId, ...dates })),
      hostId,
    }),
  };
}

async function makeOne(commonName: string): Promise<Pick<TestCa, 'caPem' | 'keyPem' | 'issue'>> {
  x509.cryptoProvider.set(webcrypto);
  const keys = await generateKeys();
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=${commonName}`,
    ...validity({}),
    signingAlgorithm: KEY,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  const caPem = ca.toString('pem');
  const issue = (options: IssueOptions): Promise<TestIdentity> => sign(ca, keys.privateKey, options);
  return {
    caPem,
    keyPem: await keyPem(keys.privateKey),
    issue,
  };
}

async function sign(
  ca: x509.X509Certificate,
  signingKey: webcrypto.CryptoKey,
  options: IssueOptions,
): Promise<TestIdentity> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${options.commonName ?? 'test'}`,
    issuer: ca.subject,
    ...validity(options),
    signingAlgorithm: KEY,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      ...(options.uri === '' ? [] : [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: options.uri }])]),
    ],
  });
  return { certPem: certificate.toString('pem'), keyPem: await keyPem(keys.privateKey), caPem: ca.toString('pem') };
}

const generateKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(KEY, true, ['sign', 'verify']);

const serial = (): string => `01${Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString('hex')}`;

const validity = (o: { notBefore?: Date; notAfter?: Date }): { notBefore: Date; notAfter: Date } => ({
  notBefore: o.notBefore ?? new Date(Date.now() - DAY_MS),
  notAfter: o.notAfter ?? new Date(Date.now() + DAY_MS),
});

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`;
}
