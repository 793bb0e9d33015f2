/** Switching certificates: whole or not at all, also across a crash, and only what can serve. */
import { mkdtemp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { webcrypto } from 'node:crypto';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { readCertificate } from '@berth/shared/trust/certificate.ts';
import { makeCa, type TestCa, type TestIdentity } from '@berth/test/harness/pki.ts';
import { storedIdentity } from '../testing/identity.ts';
import type { HostIdentity } from './host-identity.ts';
import { loadIdentity, prepareIdentityDir, saveIdentity } from './identity-store.ts';
import { openIdentity } from './open-identity.ts';

const KEY = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const log = createLog('test', 'silent');
let ca: TestCa;
let control: TestIdentity;
let dir = '';
const closers: (() => void)[] = [];

beforeAll(async () => {
  ca = await makeCa();
  control = await ca.host('host-1');
});
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-identity-'));
  await prepareIdentityDir(dir);
  await saveIdentity(dir, storedIdentity({ hostId: 'host-1', control }));
});
afterEach(async () => {
  for (const close of closers.splice(0)) close();
  await rm(dir, { recursive: true, force: true });
});

/** As after a start of the agent. */
async function open(): Promise<HostIdentity> {
  const identity = await openIdentity(await loadIdentity(dir), { dataDir: dir, clock: systemClock, log });
  closers.push(() => identity.close());
  return identity;
}

async function sign(csrPem: string, over: { uri?: string; fromMs?: number; toMs?: number; by?: TestCa } = {}) {
  const by = over.by ?? ca;
  const der = Buffer.from(by.keyPem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const request = new x509.Pkcs10CertificateRequest(csrPem);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `01${Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString('hex')}`,
    subject: 'CN=h1',
    issuer: new x509.X509Certificate(by.caPem).subject,
    notBefore: new Date(Date.now() + (over.fromMs ?? -60_000)),
    notAfter: new Date(Date.now() + (over.toMs ?? 3_600_000)),
    signingAlgorithm: KEY,
    publicKey: await request.publicKey.export(),
    signingKey: await webcrypto.subtle.importKey('pkcs8', der, KEY, false, ['sign']),
    extensions: [
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: over.uri ?? 'urn:berth:host:host-1' }]),
    ],
  });
  return certificate.toString('pem');
}

describe('a new certificate', () => {
  it('is put into service with its key at once, and is there after a restart', async () => {
    const identity = await open();
    const certPem = await sign(await identity.prepare('control', 'a1'));
    const told: unknown[] = [];
    identity.subscribe(() => told.push(identity.pair('control')?.certPem));
    await identity.install('control', certPem);
    expect(told.at(-1)).toBe(certPem);
    expect((await open()).pair('control')).toEqual(identity.pair('control'));
    expect(identity.pair('control')?.keyPem).not.toBe(control.keyPem);
  });

  it('fits the same key when it is asked for twice, also across a restart', async () => {
    const publicKey = async (csr: Promise<string>) =>
      Buffer.from(new x509.Pkcs10CertificateRequest(await csr).publicKey.rawData).toString('hex');
    const first = await publicKey((await open()).prepare('control', 'a1'));
    expect(await publicKey((await open()).prepare('control', 'a1'))).toBe(first);
    expect(await publicKey((await open()).prepare('control', 'a2'))).not.toBe(first);
  });

  it('may be installed twice', async () => {
    const identity = await open();
    const certPem = await sign(await identity.prepare('control', 'a1'));
    await identity.install('control', certPem);
    await identity.install('control', certPem);
    await expect(identity.install('control', await sign(await identity.prepare('transfer', 'x')))).rejects.toThrow(
      /no key is prepared/,
    );
  });

  it.each([
    ['for another host', { uri: 'urn:berth:host:host-2' }, /another name/],
    ['for another purpose', { uri: 'urn:berth:transfer:host-1' }, /another name/],
    ['of the controller', { uri: 'urn:berth:controller:i' }, /another name/],
    ['that begins tomorrow', { fromMs: 86_400_000, toMs: 2 * 86_400_000 }, /not valid for another .* by the clock of/],
    ['that is over', { toMs: -30_000 }, /expired .* ago by the clock/],
  ])('%s is refused, and the one before stays', async (_, over, words) => {
    const identity = await open();
    const csr = await identity.prepare('control', 'a1');
    await expect(identity.install('control', await sign(csr, over))).rejects.toThrow(words);
    expect(identity.pair('control')).toEqual({ certPem: control.certPem, keyPem: control.keyPem });
  });

  it('of another CA, for another key, and no certificate are refused', async () => {
    const identity = await open();
    const csr = await identity.prepare('control', 'a1');
    const foreign = await sign(csr, { by: await makeCa() });
    await expect(identity.install('control', foreign)).rejects.toThrow(/a CA that this host does not trust/);
    await expect(identity.install('control', (await ca.host('host-1')).certPem)).rejects.toThrow(/this host's key/);
    await expect(identity.install('control', 'hello')).rejects.toThrow(/no certificate/);
  });

  it('gives way to the one before it when it has run out before anybody met it', async () => {
    const identity = await open();
    await identity.install('control', await sign(await identity.prepare('control', 'a1')));
    const stored = await loadIdentity(dir);
    const csr = await identity.prepare('control', 'a2');
    const over = { keyPem: stored.control.keyPem, certPem: await sign(csr, { toMs: -1_000 }) };
    await saveIdentity(dir, { ...stored, control: over });
    expect((await open()).pair('control')?.certPem).toBe(control.certPem);
  });

  it('lets go of the one before it when it is confirmed', async () => {
    const identity = await open();
    const certPem = await sign(await identity.prepare('control', 'a1'));
    await identity.install('control', certPem);
    await expect(identity.confirm('control', '1234')).rejects.toThrow(/another one/);
    expect((await loadIdentity(dir)).formerControl?.certPem).toBe(control.certPem);
    await identity.confirm('control', readCertificate(certPem).serial);
    expect((await loadIdentity(dir)).formerControl).toBeUndefined();
  });
});

describe('whom a host trusts', () => {
  it('is kept, and refuses lists that would cut off the controller or hold anything else', async () => {
    const identity = await open();
    await identity.setTrust({ control: [ca.caPem], transfer: [ca.caPem], revoked: ['00AB'] });
    expect((await open()).isRevoked('ab')).toBe(true);
    const trust = identity.trust;
    await expect(identity.setTrust({ control: [], transfer: [], revoked: [] })).rejects.toThrow(/at least one CA/);
    const many = Array.from({ length: 9 }, () => ca.caPem);
    for (const bad of [['hello'], many])
      await expect(identity.setTrust({ control: bad, transfer: [], revoked: [] })).rejects.toMatchObject({
        reason: 'INVALID_ARGUMENT',
      });
    const long = Array.from({ length: 20_001 }, (_, n) => n.toString(16));
    await expect(identity.setTrust({ control: [ca.caPem], transfer: [], revoked: long })).rejects.toThrow(/too many/);
    expect(identity.trust).toEqual(trust);
  });
});

describe('an identity of an older agent', () => {
  it('is taken over as it is, and its files go', async () => {
    await rm(join(dir, 'identity'), { recursive: true });
    await mkdir(join(dir, 'identity'), { mode: 0o700 });
    await writeFile(join(dir, 'identity', 'key.pem'), control.keyPem);
    const names = { hostId: 'host-1', hostName: 'h1', installationId: 'i-1' };
    const old = { ...names, certPem: control.certPem, caPem: ca.caPem };
    await writeFile(join(dir, 'identity', 'identity.json'), JSON.stringify(old));
    const identity = await open();
    expect(identity.pair('control')).toEqual({ certPem: control.certPem, keyPem: control.keyPem });
    expect(identity.pair('transfer')).toBeUndefined();
    expect(await readdir(join(dir, 'identity'))).toEqual(['credentials.json']);
  });
});
