import { X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import { peerName } from '@berth/shared/trust/names.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { newAuthority, openAuthority, type Authority } from './authority.ts';
import { checkRequest } from './csr.ts';
import { newRequest, type KeyAlgorithm } from './testing.ts';

const NOW = Date.parse('2026-03-01T00:00:00Z');
const HOST = 'host-0000000000000000000000' as HostId;

const csr = async (a?: KeyAlgorithm) => (await newRequest(a)).csrPem;
const p256 = () => csr();

describe('the authority', () => {
  let authority: Authority;
  beforeAll(async () => {
    authority = await openAuthority(await newAuthority('installation-x', NOW));
  });

  it('sets the names itself and ignores those of the request', async () => {
    const pem = await authority.signHost(await checkRequest(await p256()), HOST, NOW);
    const certificate = new X509Certificate(pem);
    expect(certificate.subjectAltName).toBe(`URI:urn:berth:host:${HOST}`);
    expect(certificate.subject).toBe(`CN=${HOST}`);
    expect(peerName(certificate.subjectAltName)).toEqual({ kind: 'host', id: HOST });
    expect(certificate.ca).toBe(false);
  });

  it('signs certificates that the CA verifies and that live a year', async () => {
    const pem = await authority.signHost(await checkRequest(await p256()), HOST, NOW);
    const certificate = new X509Certificate(pem);
    const ca = new X509Certificate(authority.caPem);
    expect(certificate.verify(ca.publicKey)).toBe(true);
    expect(certificate.checkIssued(ca)).toBe(true);
    expect(Date.parse(certificate.validTo) - NOW).toBe(365 * 86_400_000);
  });

  it('names the controller by installation, addresses and this machine', async () => {
    const { certificatePem } = await authority.signController('i-1', ['[fd00::1]:7443', 'berth.example:7443'], NOW);
    const names = new X509Certificate(certificatePem).subjectAltName ?? '';
    expect(peerName(names)).toEqual({ kind: 'controller', id: 'i-1' });
    expect(names).toContain('DNS:berth.example');
    expect(names).toContain('IP Address:FD00:0:0:0:0:0:0:1');
    expect(names).toContain('DNS:localhost');
  });
});

describe('a certificate request', () => {
  it.each([
    ['P-256', { name: 'ECDSA', namedCurve: 'P-256' }],
    ['P-384', { name: 'ECDSA', namedCurve: 'P-384' }],
    ['Ed25519', { name: 'Ed25519' }],
    [
      'RSA 2048',
      { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    ],
  ])('with a %s key is accepted', async (_, algorithm) => {
    const checked = await checkRequest(await csr(algorithm as KeyAlgorithm));
    expect(checked.keyFingerprint).toMatch(/^[0-9a-f]{64}$/);
  });

  it.each([
    ['P-521', { name: 'ECDSA', namedCurve: 'P-521' }],
    [
      'RSA 1024',
      { name: 'RSASSA-PKCS1-v1_5', modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    ],
  ])('with a %s key is refused', async (_, algorithm) => {
    await expect(checkRequest(await csr(algorithm as KeyAlgorithm))).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
  });

  it('signed with another key is refused', async () => {
    const der = Buffer.from(x509.PemConverter.decodeFirst(await p256()));
    const last = der.length - 1;
    der[last] = (der[last] ?? 0) ^ 1;
    const forged = x509.PemConverter.encode(der, 'CERTIFICATE REQUEST');
    await expect(checkRequest(forged)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });

  it.each([
    ['empty', ''],
    ['text', 'hello'],
    ['not DER', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----'],
    ['huge', 'A'.repeat(20_000)],
  ])('that is %s is refused with one line', async (_, pem) => {
    await expect(checkRequest(pem)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });
});
