/** Hosts, join tokens and enrolment, as people and agents meet them. */
import { X509Certificate } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { HostId } from '@berth/shared/model/ids.ts';
import { decodeJoinLine } from '@berth/shared/trust/lines.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { Hosts, HostStatus } from '../hosts/hosts.ts';
import { statusOf } from '../hosts/status.ts';
import { memoryState, newIdentity } from '../hosts/testing.ts';
import { DEFAULT_POLICY } from '../scheduler/world.ts';
import { aVm, anImage } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import type { Identity } from '../trust/identity.ts';
import { newRequest } from '../trust/testing.ts';
import { Enrollment } from './enrollment.ts';
import { HostsApp } from './hosts.ts';

let identity: Identity;
let state: State;
let app: HostsApp;
let enrollment: Enrollment;
let offsetMs: number;
let up: boolean;
const clock: Clock = { ...systemClock, now: () => systemClock.now() + offsetMs };

beforeAll(async () => {
  identity = await newIdentity('installation-0000000000000000000000');
});
beforeEach(async () => {
  state = await memoryState();
  offsetMs = 0;
  up = false;
  const status = (id: HostId): HostStatus => ({
    ...statusOf(id, undefined, state.tables.hosts.get(id)),
    ...(up ? { state: 'up' as const } : {}),
  });
  const hosts = { status, vm: () => undefined } as unknown as Hosts;
  const advertised = () => '10.0.0.1:7443';
  app = new HostsApp({ state, hosts, clock, policy: DEFAULT_POLICY, trust: identity, advertised });
  enrollment = new Enrollment(state, identity, clock);
});

const add = (name: string, address = `${name}.example`) => app.create({ name, address, labels: {} }, 'ann');
const eventTypes = async () => (await state.events({ limit: 100 })).map((e) => e.type);

describe('adding a host', () => {
  it('answers with its state and a join line that says where to go', async () => {
    const { details, invitation } = await add('h1');
    expect(details.host).toMatchObject({ name: 'h1', address: 'h1.example:7444' });
    expect(details.status.state).toBe('enrolling');
    expect(decodeJoinLine(invitation.line)).toMatchObject({ controller: '10.0.0.1:7443', caPin: identity.caPin });
    expect(await eventTypes()).toEqual(['host.added']);
  });

  it('stores no secret', async () => {
    const { invitation } = await add('h1');
    const { secret } = decodeJoinLine(invitation.line);
    expect(JSON.stringify([...state.tables.joinTokens.values()])).not.toContain(secret);
  });

  it.each(['', 'H1', 'a/b', '../x', '-h', 'a'.repeat(64), 'h 1'])('refuses the name %j', async (name) => {
    await expect(add(name, 'x:1')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });

  it.each(['', 'a b', 'host:99999', 'host:0', 'http://h1', '1.2.3', '[fd00::1', 'a:b:c'])(
    'refuses the address %j',
    async (address) => {
      await expect(add('h1', address)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    },
  );

  it.each([
    ['fd00::1', '[fd00::1]:7444'],
    ['[fd00::1]:9', '[fd00::1]:9'],
    ['10.0.0.5', '10.0.0.5:7444'],
    ['Node1.Example:1234', 'node1.example:1234'],
  ])('writes the address %j as %j', async (given, stored) => {
    expect((await add('h1', given)).details.host.address).toBe(stored);
  });

  it('refuses a name or an address that is taken', async () => {
    await add('h1');
    await expect(add('h1', 'other')).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
    await expect(add('h2', 'h1.example:7444')).rejects.toThrow('host h1 has the address h1.example:7444 already');
  });
});

describe('a host that is reached elsewhere now', () => {
  const at = (address?: string) => app.update('h1', { address }, 'ann');

  it('has its new address, and is told of once', async () => {
    const { details } = await add('h1');
    expect((await at('10.0.0.9')).host).toMatchObject({ id: details.host.id, address: '10.0.0.9:7444', generation: 2 });
    expect((await at('10.0.0.9:7444')).host.generation).toBe(2);
    expect((await at()).host.generation).toBe(2);
    expect(await eventTypes()).toEqual(['host.added', 'host.moved']);
  });

  it('keeps the one that it had when the new one is none, or another has it', async () => {
    await add('h1');
    await add('h2');
    await expect(at('1.2.3')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await expect(at('h2.example')).rejects.toThrow('host h2 has the address h2.example:7444 already');
    expect(state.tables.hosts.byName('h1')?.address).toBe('h1.example:7444');
  });
});

describe('enrolment', () => {
  const tokenOf = (line: string) => {
    const { tokenId, secret } = decodeJoinLine(line);
    return { tokenId, tokenSecret: secret };
  };

  it('gives a certificate for that host, and the same again to the same key', async () => {
    const { details, invitation } = await add('h1');
    const { csrPem } = await newRequest();
    const first = await enrollment.enroll({ ...tokenOf(invitation.line), csrPem, transferCsrPem: '' });
    expect(new X509Certificate(first.certificatePem).subjectAltName).toBe(
      `URI:urn:berth:host:${details.host.id}, DNS:berth-agent`,
    );
    expect(state.tables.hosts.byName('h1')?.certificateFingerprint).toMatch(/^[0-9a-f]{64}$/);
    const again = await enrollment.enroll({ ...tokenOf(invitation.line), csrPem, transferCsrPem: '' });
    expect(again.certificatePem).toBe(first.certificatePem);
    expect(await eventTypes()).toEqual(['host.added', 'host.enrolled']);
  });

  it('gives one certificate when one token comes twice at once', async () => {
    const { invitation } = await add('h1');
    const { csrPem } = await newRequest();
    const r = { ...tokenOf(invitation.line), csrPem, transferCsrPem: '' };
    const [a, b] = await Promise.all([enrollment.enroll(r), enrollment.enroll(r)]);
    expect(a.certificatePem).toBe(b.certificatePem);
  });

  it('refuses a token that was used with another key', async () => {
    const { invitation } = await add('h1');
    await enrollment.enroll({ ...tokenOf(invitation.line), ...(await newRequest()), transferCsrPem: '' });
    await expect(
      enrollment.enroll({ ...tokenOf(invitation.line), ...(await newRequest()), transferCsrPem: '' }),
    ).rejects.toMatchObject({
      reason: 'PERMISSION_DENIED',
    });
  });

  it('refuses an expired token, also for the key that it was used with', async () => {
    const { invitation } = await add('h1');
    const { csrPem } = await newRequest();
    await enrollment.enroll({ ...tokenOf(invitation.line), csrPem, transferCsrPem: '' });
    offsetMs = 3_600_001;
    await expect(enrollment.enroll({ ...tokenOf(invitation.line), csrPem, transferCsrPem: '' })).rejects.toThrow(
      /^this join token for host h1 expired .* ago\. Make a new one: berth host token h1$/,
    );
  });

  it('refuses an unknown token, a wrong secret and a token that a newer one ended, with the same words', async () => {
    const { invitation } = await add('h1');
    const old = tokenOf(invitation.line);
    const fresh = tokenOf((await app.createJoinToken('h1', 'ann')).line);
    const { csrPem } = await newRequest();
    const words = 'this join token is not valid any more, or never was. Make a new one: berth host token NAME';
    for (const bad of [old, { ...fresh, tokenSecret: 'x'.repeat(43) }, { ...fresh, tokenId: 'token-none' }])
      await expect(enrollment.enroll({ ...bad, csrPem, transferCsrPem: '' })).rejects.toMatchObject({
        reason: 'UNAUTHENTICATED',
        message: words,
      });
    await enrollment.enroll({ ...fresh, csrPem, transferCsrPem: '' });
  });

  it('refuses a bad request and leaves the token unused', async () => {
    const { invitation } = await add('h1');
    await expect(
      enrollment.enroll({ ...tokenOf(invitation.line), csrPem: 'no', transferCsrPem: '' }),
    ).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
    await enrollment.enroll({ ...tokenOf(invitation.line), ...(await newRequest()), transferCsrPem: '' });
  });
});

describe('a host in the inventory', () => {
  it('goes into maintenance and back, and the drain names what runs there still', async () => {
    const { details } = await add('h1');
    const vm = { ...aVm({ name: 'web' }), hostId: details.host.id, desiredPower: 'on' as const };
    await state.update((tx) => tx.vms.put(vm));
    expect((await app.drain('h1', 'ann')).runningVms).toEqual(['web']);
    expect(state.tables.hosts.byName('h1')?.maintenance).toBe(true);
    await app.resume('h1', 'ann');
    expect(await eventTypes()).toEqual(['host.added', 'host.drained', 'host.resumed']);
  });

  it('is removed when it is empty', async () => {
    await add('h1');
    await app.delete('h1', false, 'ann');
    expect(state.tables.hosts.size).toBe(0);
    expect(() => app.get('h1')).toThrow(/host h1 does not exist/);
  });

  it('is not removed while VMs or the only copy of an image are on it; force forgets them if it is gone', async () => {
    const { details } = await add('h1');
    const image = { ...anImage({}), name: 'base' };
    const vm = { ...aVm({ name: 'web' }), hostId: details.host.id };
    await state.update((tx) => {
      tx.vms.put(vm);
      tx.images.put(image);
      tx.imageCopies.put({ imageId: image.id, hostId: details.host.id, fileBytes: 1 });
    });
    await expect(app.delete('h1', false, 'ann')).rejects.toThrow(
      'host h1 is in use: vm web on it; the only copy of image base. Remove that first',
    );
    up = true;
    await expect(app.delete('h1', true, 'ann')).rejects.toThrow('--force is for hosts that are gone for good');
    up = false;
    await app.delete('h1', true, 'ann');
    expect([state.tables.hosts.size, state.tables.vms.size]).toEqual([0, 0]);
  });

  it('is listed in pages by name', async () => {
    for (const name of ['h3', 'h1', 'h2']) await add(name);
    const first = app.list({ pageSize: 2, pageToken: '' });
    expect(first.items.map((d) => d.host.name)).toEqual(['h1', 'h2']);
    const second = app.list({ pageSize: 2, pageToken: first.nextPageToken });
    expect(second.items.map((d) => d.host.name)).toEqual(['h3']);
    expect(second.nextPageToken).toBe('');
  });
});
