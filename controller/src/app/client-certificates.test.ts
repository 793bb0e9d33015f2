import { createHash, X509Certificate } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { issuerAmong, readCertificate, serialOf } from '@berth/shared/trust/certificate.ts';
import { peerName } from '@berth/shared/trust/names.ts';
import { hostTls, memoryState, newHostId, newIdentity } from '../hosts/testing.ts';
import type { State } from '../state/state.ts';
import type { Trust } from '../trust/identity.ts';
import { newRequest } from '../trust/testing.ts';
import { Authentication, type Caller } from './authentication.ts';
import { Certificates } from './certificates.ts';
import { ClientCertificates } from './client-certificates.ts';
import { Logins } from './logins.ts';
import { Tokens } from './tokens.ts';
import { Users } from './users.ts';

const DAY_MS = 86_400_000;

let state: State;
let trust: Trust;
let clients: ClientCertificates;
let authentication: Authentication;
let tokens: Tokens;
let offsetMs: number;
beforeEach(async () => {
  offsetMs = 0;
  state = await memoryState();
  trust = await newIdentity(state.installationId);
  const clock = { ...systemClock, now: () => systemClock.now() + offsetMs };
  clients = new ClientCertificates({ state, authority: trust.authority, clock });
  authentication = new Authentication({ state, clock });
  tokens = new Tokens(state);
});

const shownOf = (pem: string) => {
  const { serialNumber, raw } = new X509Certificate(pem);
  return { serial: serialOf(serialNumber), fingerprint: createHash('sha256').update(raw).digest('hex') };
};
const show = (pem: string) => authentication.authenticate({ authorization: undefined, certificate: shownOf(pem) });
const issue = async (by: { tokenId: string; certificate?: Caller['certificate'] }, description = '') =>
  clients.issue(
    { csrPem: (await newRequest()).csrPem, description },
    { tokenId: by.tokenId, certificate: by.certificate },
  );
const refused = (message: RegExp) =>
  expect.objectContaining({ reason: 'UNAUTHENTICATED', message: expect.stringMatching(message) as string });
const begin = async (role = 'operator', user = 'ann') => {
  const { token } = await tokens.create({ user, role, lifetimeMs: 365 * DAY_MS }, 'root');
  return { token, ...(await issue({ tokenId: token.id }, 'laptop')) };
};
const certificates = () =>
  new Certificates({ state, trust, clock: systemClock, jobs: undefined as never, keeper: { about: () => undefined } });
const listed = () =>
  certificates()
    .list(true)
    .filter((c) => c.purpose === 'client')
    .map((c) => `${c.subject} ${c.state} ${c.reason}`.trim())
    .sort();

describe('a client certificate', () => {
  it('may do what the token may that it was got with, and ends with it', async () => {
    const { token, certificatePem } = await begin('viewer');
    expect(show(certificatePem)).toMatchObject({ user: 'ann', role: 'viewer', tokenId: token.id });
    const caller = show(certificatePem);
    await tokens.delete(token.id, 'root');
    expect(() => show(certificatePem)).toThrow(refused(/the token of this client certificate was ended/));
    expect(() => authentication.still(caller)).toThrow(refused(/ended/));
    expect(listed()).toEqual(['ann revoked its token was ended']);
  });

  it('never outlives its token', async () => {
    const { token } = await tokens.create({ user: 'ann', role: 'viewer', lifetimeMs: DAY_MS }, 'root');
    const { certificatePem, renewsAtMs } = await issue({ tokenId: token.id });
    expect(readCertificate(certificatePem).notAfterMs).toBe(Math.floor(token.expiresAtMs / 1_000) * 1_000);
    expect(renewsAtMs).toBeUndefined();
    const renewed = await issue(show(certificatePem));
    expect(readCertificate(renewed.certificatePem).notAfterMs).toBeLessThanOrEqual(token.expiresAtMs);
  });

  it('names its login, and is good for calling only', async () => {
    const { certificatePem } = await begin();
    const certificate = new X509Certificate(certificatePem);
    const { loginId } = show(certificatePem).certificate ?? {};
    expect(peerName(certificate.subjectAltName)).toEqual({ kind: 'client', id: loginId });
    expect([certificate.subject, certificate.keyUsage]).toEqual(['CN=ann', ['1.3.6.1.5.5.7.3.2']]);
  });

  it('is renewed at two thirds of its life; those before it stay good until they run out', async () => {
    const { certificatePem: first, renewsAtMs = 0 } = await begin();
    const { notBeforeMs, notAfterMs } = readCertificate(first);
    expect((renewsAtMs - notBeforeMs) / (notAfterMs - notBeforeMs)).toBeCloseTo(2 / 3, 3);
    offsetMs = renewsAtMs - systemClock.now();
    const { certificatePem: second } = await issue(show(first));
    expect(show(first).certificate?.serial).toBe(shownOf(first).serial);
    expect(show(first).certificate?.loginId).toBe(show(second).certificate?.loginId);
    expect(state.tables.certificates.get(shownOf(second).serial)?.client?.description).toBe('laptop');
    offsetMs = 95 * DAY_MS;
    expect(() => show(first)).toThrow(refused(/ran out 5 d ago: log in again/));
    expect(show(second).user).toBe('ann');
  });

  it('does not end a stream that it opened by running out, when it was renewed', async () => {
    const { certificatePem: first } = await begin();
    const caller = show(first);
    offsetMs = 60 * DAY_MS;
    await issue(caller);
    offsetMs = 95 * DAY_MS;
    expect(authentication.still(caller).user).toBe('ann');
    offsetMs = 160 * DAY_MS;
    expect(() => authentication.still(caller)).toThrow(refused(/this client certificate ran out 10 d ago/));
  });

  it('of a login by password ends that login when it is revoked, and with the password', async () => {
    const grants = [{ role: 'admin', cluster: '', selector: '' }];
    await new Users(state, systemClock).create({ name: 'ann', kind: '', grants }, 'root');
    const logins = new Logins(state, systemClock);
    await logins.setPassword({ user: 'ann', password: 'correct horse battery' }, 'root');
    const login = async () => {
      const { token } = await logins.login({ user: 'ann', password: 'correct horse battery', lifetimeMs: 0 }, '');
      return (await issue({ tokenId: token.id })).certificatePem;
    };
    const [first, second] = [await login(), await login()];
    await certificates().revoke(shownOf(first).serial, 'ann', true);
    expect(tokens.list('ann')).toHaveLength(1);
    await logins.setPassword({ user: 'ann', password: 'another horse battery' }, 'root');
    for (const pem of [first, second]) expect(() => show(pem)).toThrow(refused(/ended/));
  });

  it('that is revoked ends all that were renewed from one another, and no other login', async () => {
    const { token, certificatePem: first } = await begin();
    const { certificatePem: second } = await issue(show(first));
    const { certificatePem: other } = await issue({ tokenId: token.id });
    const caller = show(second);
    expect(await certificates().revoke(shownOf(first).serial, 'root')).toHaveLength(2);
    for (const pem of [first, second]) expect(() => show(pem)).toThrow(refused(/revoked/));
    expect(() => authentication.still(caller)).toThrow(refused(/revoked/));
    await expect(issue(caller)).rejects.toMatchObject({ reason: 'UNAUTHENTICATED' });
    expect(show(other).user).toBe('ann');
    expect(listed()).toEqual(['ann active', 'ann revoked revoked by root', 'ann revoked revoked by root']);
  });

  it('is revoked by its own user, and by administrators; others learn nothing of it', async () => {
    const { certificatePem } = await begin();
    const { serial } = shownOf(certificatePem);
    const host = await hostTls(trust, newHostId());
    for (const which of [serial, serial.slice(0, 12), shownOf(host.certificatePem).serial, 'h1'])
      await expect(certificates().revoke(which, 'bob', true)).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' });
    expect(show(certificatePem).user).toBe('ann');
    await certificates().revoke(serial, 'ann', true);
    expect(() => show(certificatePem)).toThrow(refused(/revoked/));
  });

  it('is refused when its user is disabled', async () => {
    const { certificatePem } = await begin();
    await new Users(state, systemClock).setDisabled('ann', true, 'root');
    expect(() => show(certificatePem)).toThrow(refused(/disabled/));
  });

  it('is refused when it is not the very one that was issued, or a host has it', async () => {
    const { certificatePem } = await begin();
    const certificate = { ...shownOf(certificatePem), fingerprint: '0'.repeat(64) };
    expect(() => authentication.authenticate({ authorization: undefined, certificate })).toThrow(refused(/not known/));
    const host = shownOf((await hostTls(trust, newHostId())).certificatePem);
    const shown = { authorization: undefined, certificate: host };
    expect(() => authentication.authenticate(shown)).toThrow(refused(/not known/));
  });

  it('outlives its CA: what counts is that it is on record', async () => {
    const { certificatePem } = await begin();
    const old = trust.caPem;
    await trust.beginRotation('r', systemClock.now());
    trust.issueFromNext('r');
    await trust.finishRotation('r', systemClock.now());
    expect(trust.cas.control).not.toContain(old);
    expect(trust.callerCas).toEqual([...trust.cas.control, old]);
    const { certificatePem: second } = await issue(show(certificatePem));
    expect(issuerAmong(new X509Certificate(second), trust.cas.control)).toBe(trust.caPem);
  });

  it('is not issued for a request that is none, nor more often than anybody needs', async () => {
    const caller = show((await begin()).certificatePem);
    await expect(clients.issue({ csrPem: 'hello', description: '' }, caller as never)).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
    for (let i = 1; i < 100; i++) await issue(caller);
    await expect(issue(caller)).rejects.toMatchObject({ reason: 'RATE_LIMITED' });
  });

  it('makes room for itself when a script logs in each time and never out', async () => {
    const { token, certificatePem } = await begin();
    const first = state.tables.certificates.get(shownOf(certificatePem).serial)!;
    await state.update((tx) => {
      for (let i = 1; i < 10_000; i++)
        tx.certificates.put({
          ...first,
          ...{ serial: `a${i}`, notBeforeMs: first.notBeforeMs + i },
          client: { ...first.client!, loginId: `login-${i}` },
        });
    });
    await issue({ tokenId: token.id });
    expect(state.tables.certificates.byToken(token.id)).toHaveLength(10_000);
    expect(state.tables.certificates.get(first.serial)).toBeUndefined();
    expect(state.tables.certificates.get('a1')).toBeDefined();
  });

  it('leaves nothing when it ran out so long ago that no clock is that wrong', async () => {
    offsetMs = -480 * DAY_MS;
    const { certificatePem: kept } = await begin('viewer', 'old');
    offsetMs = -500 * DAY_MS;
    await begin();
    expect(state.tables.certificates.byHost('')).toHaveLength(2);
    offsetMs = 0;
    await begin('viewer', 'bob');
    expect(state.tables.certificates.byHost('').map((c) => c.subject)).toEqual(['old', 'bob']);
    offsetMs = -400 * DAY_MS;
    expect(show(kept).user).toBe('old');
  });
});
