/** Enrolment against a small controller: the pin before the secret, one key for ever, and nothing stored that does not fit. */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { webcrypto } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import {
  EnrollmentServiceService,
  type EnrollmentServiceServer,
  type EnrollRequest,
  type EnrollResponse,
} from '@berth/proto/v1/enrollment.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { encodeJoinLine } from '@berth/shared/trust/lines.ts';
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import { makeCa, type TestCa } from '@berth/test/harness/pki.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { enroll } from './enroll.ts';
import { loadIdentity, saveIdentity } from './identity-store.ts';

const KEY = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
let dir = '';
let ca: TestCa;
const servers: Server[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-enroll-'));
  ca = await makeCa();
});
afterEach(async () => {
  for (const s of servers.splice(0)) s.forceShutdown();
  await rm(dir, { recursive: true, force: true });
});

/** Signs what it is asked to. @param change what the controller does wrong. */
async function controller(
  o: {
    uri?: string;
    change?: (a: EnrollResponse) => EnrollResponse;
    refuse?: boolean;
    host?: { hostId: string; hostName: string };
  } = {},
) {
  const asked: EnrollRequest[] = [];
  const me = await ca.issue({ uri: o.uri ?? 'urn:berth:controller:i-1' });
  const server = new Server();
  servers.push(server);
  const service: EnrollmentServiceServer = {
    enroll: ({ request }, callback) => {
      asked.push(request);
      if (o.refuse) {
        const metadata = new Metadata();
        metadata.set('berth-reason', 'UNAUTHENTICATED');
        return callback({ code: status.UNAUTHENTICATED, details: 'this token has expired; make a new one', metadata });
      }
      const host = o.host ?? { hostId: 'host-7', hostName: 'h7' };
      void signCsr(request.csrPem, host.hostId).then((certificatePem) => {
        const names = { ...host, installationId: 'i-1' };
        const none = { transferCertificatePem: '', transferCaPems: [], caPems: [] };
        const answer = { certificatePem, caPem: ca.caPem, ...names, ...none };
        callback(null, o.change ? o.change(answer) : answer);
      });
    },
  };
  server.addService(EnrollmentServiceService, service);
  const pair = { private_key: Buffer.from(me.keyPem), cert_chain: Buffer.from(`${me.certPem}\n${me.caPem}`) };
  const creds = ServerCredentials.createSsl(null, [pair]);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', creds, (e, p) => (e ? reject(e) : resolve(p))),
  );
  const line = {
    controller: `127.0.0.1:${port}`,
    caPin: publicKeyPin(ca.caPem),
    tokenId: 'token-1',
    secret: 's'.repeat(30),
  };
  const run = (over: Partial<typeof line> = {}) =>
    enroll({ dataDir: dir, token: encodeJoinLine({ ...line, ...over }), clock: systemClock });
  return { asked, run };
}

async function signCsr(csrPem: string, hostId: string): Promise<string> {
  const csr = new x509.Pkcs10CertificateRequest(csrPem);
  expect(await csr.verify()).toBe(true);
  const der = Buffer.from(ca.keyPem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '01',
    subject: 'CN=h7',
    issuer: new x509.X509Certificate(ca.caPem).subject,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    signingAlgorithm: KEY,
    publicKey: await csr.publicKey.export(),
    signingKey: await webcrypto.subtle.importKey('pkcs8', der, KEY, false, ['sign']),
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `urn:berth:host:${hostId}` }])],
  });
  return certificate.toString('pem');
}

describe('enrolment', () => {
  it('stores what the controller gave, with a key that only root can read', async () => {
    const { run } = await controller();
    expect(await run()).toMatchObject({ hostId: 'host-7', hostName: 'h7', installationId: 'i-1' });
    const identity = await loadIdentity(dir);
    expect(identity.control.keyPem).toContain('PRIVATE KEY');
    const at = join(dir, 'identity');
    expect((await stat(at)).mode & 0o777).toBe(0o700);
    expect((await stat(join(at, 'credentials.json'))).mode & 0o777).toBe(0o600);
    expect((await readdir(at)).sort()).toEqual(['credentials.json']);
  });

  it('stores one whole identity when two write at once: an agent that renews, and an enrolment', async () => {
    await (await controller()).run();
    const identity = await loadIdentity(dir);
    const names = Array.from({ length: 20 }, (_, i) => `h${i}`);
    await Promise.all(names.map((hostName) => saveIdentity(dir, { ...identity, hostName })));
    expect(names).toContain((await loadIdentity(dir)).hostName);
    expect(await readdir(join(dir, 'identity'))).toEqual(['credentials.json']);
  });

  it('is done once with one token', async () => {
    const { run } = await controller();
    await run();
    const first = await loadIdentity(dir);
    await run();
    expect(await loadIdentity(dir)).toEqual(first);
  });

  it('makes a host that was removed and added again the new one', async () => {
    await (await controller()).run();
    const again = await controller({ host: { hostId: 'host-8', hostName: 'h7' } });
    expect(await again.run({ tokenId: 'token-2' })).toMatchObject({ hostId: 'host-8' });
    expect(await loadIdentity(dir)).toMatchObject({ hostId: 'host-8', hostName: 'h7' });
  });

  it('refuses to make one host out of another, whose VMs and disks are here', async () => {
    await (await controller()).run();
    const other = await controller({ host: { hostId: 'host-8', hostName: 'h8' } });
    await expect(other.run({ tokenId: 'token-2' })).rejects.toThrow(
      /^this machine is host h7 already, and this token is for host h8\. Use a token for h7/,
    );
    expect(await loadIdentity(dir)).toMatchObject({ hostId: 'host-7' });
  });

  it('sends no secret to a controller with another CA', async () => {
    const { run, asked } = await controller();
    await expect(run({ caPin: 'ab'.repeat(32) })).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
    expect(asked).toEqual([]);
  });

  it('sends no secret to a host that poses as the controller', async () => {
    const { run, asked } = await controller({ uri: 'urn:berth:host:host-1' });
    await expect(run()).rejects.toMatchObject({ reason: 'CONTROLLER_UNREACHABLE' });
    expect(asked).toEqual([]);
  });

  it("passes the controller's refusal on in one line", async () => {
    const { run } = await controller({ refuse: true });
    await expect(run()).rejects.toMatchObject({
      reason: 'UNAUTHENTICATED',
      message: 'this token has expired; make a new one',
    });
    await expect(loadIdentity(dir)).rejects.toThrow(/not enrolled/);
  });

  it.each([
    ['another CA', async () => ({ caPem: (await makeCa()).caPem })],
    ["somebody else's certificate", async () => ({ certificatePem: (await ca.host('host-7')).certPem })],
    ['another name', async () => ({ hostId: 'host-8' })],
    ['no certificate', async () => ({ certificatePem: 'hello' })],
  ])('stores nothing when it is given %s', async (_, wrong) => {
    const over = await wrong();
    const { run } = await controller({ change: (a) => ({ ...a, ...over }) });
    await expect(run()).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
    await expect(loadIdentity(dir)).rejects.toThrow(/not enrolled/);
  });

  it('says in one line that nobody answers, or that this is no token', async () => {
    const { run } = await controller();
    await expect(run({ controller: '127.0.0.1:1' })).rejects.toMatchObject({ reason: 'CONTROLLER_UNREACHABLE' });
    await expect(enroll({ dataDir: dir, token: 'hello', clock: systemClock })).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
  });
});
