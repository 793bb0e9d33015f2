import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import { issuerAmong, readCertificate } from '@berth/shared/trust/certificate.ts';
import { peerName } from '@berth/shared/trust/names.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { DEFAULT_LIFETIMES } from './authority.ts';
import { checkRequest } from './csr.ts';
import { loadIdentity, newTrust, paths, Trust } from './identity.ts';
import { writeSecretFile } from './store.ts';
import { newRequest, type KeyAlgorithm } from './testing.ts';

const NOW = Date.parse('2026-03-01T00:00:00Z');
const YEAR_MS = 365 * 86_400_000;
const HOST = 'host-0000000000000000000000' as HostId;

const csr = async (a?: KeyAlgorithm) => (await newRequest(a)).csrPem;
const p256 = () => csr();

const INSTALLATION = { installationId: 'i-1', addresses: ['[fd00::1]:7443', 'berth.example:7443'] };

describe('the authority', () => {
  let trust: Trust;
  beforeAll(async () => {
    const stored = await newTrust(INSTALLATION, NOW, DEFAULT_LIFETIMES);
    trust = new Trust(INSTALLATION, stored, DEFAULT_LIFETIMES, () => undefined);
  });

  it('sets the names itself and ignores those of the request', async () => {
    const pem = await trust.signHost('control', await checkRequest(await p256()), HOST, NOW);
    const certificate = new X509Certificate(pem);
    expect(certificate.subjectAltName).toBe(`URI:urn:berth:host:${HOST}, DNS:berth-agent`);
    expect(certificate.subject).toBe(`CN=${HOST}`);
    expect(peerName(certificate.subjectAltName)).toEqual({ kind: 'host', id: HOST });
    expect(certificate.ca).toBe(false);
  });

  it('signs certificates that the CA verifies, that live a year, and are due at two thirds of it', async () => {
    const pem = await trust.signHost('control', await checkRequest(await p256()), HOST, NOW);
    const certificate = new X509Certificate(pem);
    const ca = new X509Certificate(trust.caPem);
    expect(certificate.verify(ca.publicKey)).toBe(true);
    expect(certificate.checkIssued(ca)).toBe(true);
    const { notBeforeMs, notAfterMs, renewAtMs } = readCertificate(pem);
    expect(notAfterMs - NOW).toBe(YEAR_MS);
    expect(notBeforeMs).toBe(NOW - 5 * 60_000);
    expect((renewAtMs - NOW) / YEAR_MS).toBeCloseTo(2 / 3, 3);
  });

  it('has a CA of its own for what hosts do among themselves', async () => {
    const pem = await trust.signHost('transfer', await checkRequest(await p256()), HOST, NOW);
    expect(peerName(new X509Certificate(pem).subjectAltName)).toEqual({ kind: 'transfer', id: HOST });
    expect(issuerAmong(new X509Certificate(pem), trust.cas.transfer)).toBe(trust.cas.transfer[0]);
    expect(issuerAmong(new X509Certificate(pem), trust.cas.control)).toBeUndefined();
  });

  it('signs nothing that outlives its CA', async () => {
    const nearTheEnd = NOW + DEFAULT_LIFETIMES.ca - 86_400_000;
    const pem = await trust.signHost('control', await checkRequest(await p256()), HOST, nearTheEnd);
    expect(readCertificate(pem).notAfterMs).toBe(readCertificate(trust.caPem).notAfterMs);
  });

  it('names the controller by installation, addresses and this machine', () => {
    const names = new X509Certificate(trust.certificatePem).subjectAltName ?? '';
    expect(peerName(names)).toEqual({ kind: 'controller', id: 'i-1' });
    expect(names).toContain('DNS:berth.example');
    expect(names).toContain('IP Address:FD00:0:0:0:0:0:0:1');
    expect(names).toContain('DNS:localhost');
  });

  it('finds its own certificate due at two thirds of its life, and when it was made while the clock was ahead', async () => {
    expect(trust.ownIsDue(NOW + YEAR_MS / 2)).toBe(false);
    expect(trust.ownIsDue(NOW + YEAR_MS * 0.67)).toBe(true);
    expect(trust.ownIsDue(NOW - YEAR_MS)).toBe(true);
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

describe('the data directory of an older controller', () => {
  it('keeps its CA, gets one for transfers, and its files become one', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'berth-trust-'));
    const at = paths(dir);
    const { active } = (await newTrust(INSTALLATION, NOW, DEFAULT_LIFETIMES)).control;
    writeSecretFile(at.marker, JSON.stringify(INSTALLATION));
    writeSecretFile(at.legacyCaKey, active.keyPem);
    writeSecretFile(at.caCertificate, active.certificatePem);
    writeSecretFile(at.legacyKey, 'the old key');
    writeSecretFile(at.legacyCertificate, 'the old certificate');
    const first = await loadIdentity(dir, NOW);
    expect(first.caPem).toBe(active.certificatePem);
    expect(first.cas.transfer).toHaveLength(1);
    expect(first.ownIsDue(NOW)).toBe(false);
    expect(readdirSync(join(dir, 'trust')).sort()).toEqual(['ca.pem', 'trust.json']);
    const second = await loadIdentity(dir, NOW);
    expect([second.cas, second.chainPem]).toEqual([first.cas, first.chainPem]);
    rmSync(dir, { recursive: true });
  });
});
