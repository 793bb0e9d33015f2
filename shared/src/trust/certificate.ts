/**
 * Reading certificates: serial, validity, when it is due for renewal, who signed it. Pure; makes and verifies none of
 * TLS's own checks (chain building, key usage): those are TLS's.
 */
import { createHash, X509Certificate } from 'node:crypto';

export interface CertificateFacts {
  /** Lower-case hex, without leading zeros. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** At two thirds of its life. */
  readonly renewAtMs: number;
}

/** As Node, OpenSSL and the libraries write it, brought to one form. */
export const serialOf = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^0-9a-f]/g, '')
    .replace(/^0+(?=.)/, '');

/** @throws what the parser throws. */
export function readCertificate(pem: string): CertificateFacts {
  const certificate = new X509Certificate(pem);
  const notBeforeMs = Date.parse(certificate.validFrom);
  const notAfterMs = Date.parse(certificate.validTo);
  return {
    serial: serialOf(certificate.serialNumber),
    notBeforeMs,
    notAfterMs,
    renewAtMs: notBeforeMs + Math.floor(((notAfterMs - notBeforeMs) * 2) / 3),
  };
}

/** Each certificate of a text that holds several. */
export const splitPem = (text: string): string[] =>
  (text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((pem) => `${pem}\n`);

/** The one of `cas` that signed it; dates are not looked at. */
export function issuerAmong(certificate: X509Certificate, cas: readonly string[]): string | undefined {
  return cas.find((pem) => {
    const ca = new X509Certificate(pem);
    return certificate.checkIssued(ca) && certificate.verify(ca.publicKey);
  });
}

/** SHA-256 (hex) of what a host is told to trust: the same lists give the same digest, in any order. */
export function trustDigest(lists: Readonly<Record<string, readonly string[]>>): string {
  const hash = createHash('sha256');
  for (const name of Object.keys(lists).sort()) {
    const items = [...new Set((lists[name] ?? []).map((item) => item.trim()))].sort();
    hash.update(`${name} ${items.length}\n`);
    for (const item of items) hash.update(`${item}\n`);
  }
  return hash.digest('hex');
}
