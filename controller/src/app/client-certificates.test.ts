import { createHash, X509Certificate } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { readCertificate, serialOf } from '@berth/shared/trust/certificate.ts';
import { peerName } from '@berth/shared/trust/names.ts';
import { hostTls, memoryState, newHostId, newIdentity } from '../hosts/testing.ts';
import type { State } from '../state/state.ts';
import type { Trust } from '../trust/identity.ts';
import { newRequest } from '../trust/testing.ts';
import { Authentication } from './authentication.ts';
import { Certificates } from './certificates.ts';
import { ClientCertificates } from './client-certificates.ts';
import { Logins } from './logins.ts';
import { bearerOf, Tokens } from './tokens.ts';
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
  authentication = new Authentication({ state, clock, trust });
  tokens = new Tokens(state);
});

const shownOf = (pem: string) => {
  const { serialNumber, raw } = new X509Certificate(pem);
  return { serial: serialOf(serialNumber), fingerprint: createHash('sha256').update(raw).digest('hex') };
};
const show = (pem: string) => authentication.authenticate({ authorization: undefined, certificate: shownOf(pem) });
const issue = async (tokenId: string, description = '') =>
  clients.issue({ csrPem: (await newRequest()).csrPem, description }, tokenId);
const refused = (message: RegExp) =>
  expect.objectContaining({ reason: 'UNAUTHENTICATED', message: expect.stringMatching(message) as string });
const begin = async (role = 'operator', user = 'ann') => {
  const { token } = await tokens.create({ user, role, lifetimeMs: DAY_MS }, 'root');
  const made = await issue(token.id, 'laptop');
  return { token, ...made, login: show(made.certificatePem).tokenId };
};
const certificates = () =>
  new Certificates({ state, trust, clock: systemClock, jobs: undefined as never, keeper: { about: () => undefined } });

describe('a client certificate', () => {
  it('is a login of its own, that may do no more than the token it was got with, and outlives that', async () => {
    const { token, certificatePem, login } = await begin('viewer');
    expect(show(certificatePem)).toMatchObject({ user: 'ann', role: 'viewer', tokenId: login });
    expect(state.tables.tokens.get(login)).toMatchObject({ role: 'viewer', description: 'laptop', certificate: true });
    await tokens.create({ user: 'bob', role: 'admin', lifetimeMs: 0 }, 'root');
    await tokens.delete(token.id, 'root');
    expect(show(certificatePem).user).toBe('ann');
  });

  it('names its login, and is good for calling only', async () => {
    const { certificatePem, login } = await begin();
    const certificate = new X509Certificate(certificatePem);
    expect(peerName(certificate.subjectAltName)).toEqual({ kind: 'client', id: login });
    expect([certificate.subject, certificate.keyUsage]).toEqual(['CN=ann', ['1.3.6.1.5.5.7.3.2']]);
  });

  it('opens nothing as a secret', async () => {
    const { login } = await begin();
    for (const secret of ['', 'x', 'undefined'])
      expect(() => authentication.authenticate({ authorization: `Bearer ${login}.${secret}` })).toThrow(
        refused(/not known/),
      );
  });

  it('is renewed for as long as it is used; those before it stay good until they run out', async () => {
    const { certificatePem: first, login, renewsAtMs = 0 } = await begin();
    const { notBeforeMs, notAfterMs } = readCertificate(first);
    expect((renewsAtMs - notBeforeMs) / (notAfterMs - notBeforeMs)).toBeCloseTo(2 / 3, 3);
    offsetMs = renewsAtMs - systemClock.now();
    const { certificatePem: second } = await issue(login);
    expect(show(first)).toMatchObject({ tokenId: login, certificate: shownOf(first).serial });
    offsetMs = 95 * DAY_MS;
    expect(() => show(first)).toThrow(refused(/ran out 5 d ago: log in again/));
    expect(show(second)).toMatchObject({ tokenId: login });
  });

  it('does not end a stream that it opened by running out, when its login goes on', async () => {
    const { certificatePem: first, login } = await begin();
    const caller = show(first);
    offsetMs = 60 * DAY_MS;
    await issue(login);
    offsetMs = 95 * DAY_MS;
    expect(authentication.still(caller).user).toBe('ann');
    offsetMs = 160 * DAY_MS;
    expect(() => authentication.still(caller)).toThrow(refused(/this login ended 10 d ago/));
  });

  it('of a login by password ends when that would have, and takes its place', async () => {
    await new Users(state, systemClock).create(
      { name: 'ann', kind: '', grants: [{ role: 'admin', cluster: '', selector: '' }] },
      'root',
    );
    const logins = new Logins(state, systemClock);
    await logins.setPassword({ user: 'ann', password: 'correct horse battery' }, 'root');
    const made = await logins.login({ user: 'ann', password: 'correct horse battery', lifetimeMs: 0 }, '');
    const { certificatePem, renewsAtMs } = await issue(made.token.id);
    expect(readCertificate(certificatePem).notAfterMs).toBe(Math.floor(made.token.expiresAtMs / 1_000) * 1_000);
    expect(renewsAtMs).toBeUndefined();
    expect(() => authentication.authenticate({ authorization: `Bearer ${bearerOf(made)}` })).toThrow(refused(/known/));
    const renewed = await issue(show(certificatePem).tokenId);
    expect(readCertificate(renewed.certificatePem).notAfterMs).toBeLessThanOrEqual(made.token.expiresAtMs);
    await logins.setPassword({ user: 'ann', password: 'another horse battery' }, 'root');
    expect(() => show(certificatePem)).toThrow(refused(/revoked/));
  });

  it('that is revoked ends its login, with all that were issued for it', async () => {
    const { certificatePem: first, login } = await begin();
    const { certificatePem: second } = await issue(login);
    const caller = show(second);
    expect(await certificates().revoke(shownOf(first).serial, 'root')).toMatchObject([
      { purpose: 'client', subject: 'ann', state: 'revoked', reason: 'revoked by root' },
    ]);
    for (const pem of [first, second]) expect(() => show(pem)).toThrow(refused(/revoked/));
    expect(() => authentication.still(caller)).toThrow(refused(/ended/));
    const states = certificates()
      .list(true)
      .filter((c) => c.purpose === 'client')
      .map((c) => [c.state, c.reason]);
    expect(states.sort()).toEqual([
      ['revoked', 'its login was ended'],
      ['revoked', 'revoked by root'],
    ]);
  });

  it('of the last administrator is not revoked', async () => {
    const { certificatePem, token } = await begin('admin');
    await tokens.delete(token.id, 'root');
    await expect(certificates().revoke(shownOf(certificatePem).serial, 'root')).rejects.toMatchObject({
      reason: 'BAD_STATE',
    });
    expect(show(certificatePem).user).toBe('ann');
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
    expect(() => authentication.authenticate({ authorization: undefined, certificate: host })).toThrow(
      refused(/not known/),
    );
  });

  it('is to be renewed early when its CA is on its way out', async () => {
    const { certificatePem, login } = await begin();
    expect(authentication.isOutdated(shownOf(certificatePem))).toBe(false);
    await trust.beginRotation('r', systemClock.now());
    expect(authentication.isOutdated(shownOf(certificatePem))).toBe(false);
    trust.issueFromNext('r');
    expect(authentication.isOutdated(shownOf(certificatePem))).toBe(true);
    const { certificatePem: second } = await issue(login);
    expect(authentication.isOutdated(shownOf(second))).toBe(false);
  });

  it('is not issued for a request that is none, nor more often than anybody needs', async () => {
    const { login } = await begin();
    await expect(clients.issue({ csrPem: 'hello', description: '' }, login)).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
    for (let i = 1; i < 100; i++) await issue(login);
    await expect(issue(login)).rejects.toMatchObject({ reason: 'RATE_LIMITED' });
  });

  it('leaves nothing when it ran out and nobody renewed it', async () => {
    offsetMs = -100 * DAY_MS;
    const { login } = await begin();
    expect(state.tables.tokens.get(login)).toBeDefined();
    offsetMs = 0;
    await begin('viewer', 'bob');
    expect(state.tables.tokens.get(login)).toBeUndefined();
    expect(state.tables.certificates.byHost('').map((c) => c.subject)).toEqual(['bob']);
  });
});
