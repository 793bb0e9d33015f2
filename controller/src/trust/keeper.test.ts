/** What the keeper does with one host, which holds its certificates in memory and can be made to fail or to lie. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { readCertificate } from '@berth/shared/trust/certificate.ts';
import type { HostCertificatesView } from '../hosts/certificate-client.ts';
import { enrolledHost, memoryState, newHostId, newIdentity, silentLog } from '../hosts/testing.ts';
import type { State } from '../state/state.ts';
import type { CaPurpose } from './authority.ts';
import type { Trust } from './identity.ts';
import { CertificateKeeper, type KeeperDeps } from './keeper.ts';
import { newRequest } from './testing.ts';

let state: State;
let trust: Trust;
let keeper: CertificateKeeper;
let id: HostId;
let host: FakeHost;

/** An agent that keeps what it is given. */
class FakeHost {
  readonly pems = new Map<CaPurpose, string>();
  readonly confirmed: string[] = [];
  trustDigest = '';
  aheadMs = 0;
  refusal = '';
  get = async (): Promise<HostCertificatesView> => ({
    pems: new Map(this.pems),
    unconfirmed: new Set<CaPurpose>(),
    trustDigest: this.trustDigest,
    clockMs: systemClock.now() + this.aheadMs,
  });
  prepare = async () => (await newRequest()).csrPem;
  install = async (purpose: CaPurpose, pem: string) => {
    if (this.refusal !== '') throw invalidArgument(this.refusal);
    this.pems.set(purpose, pem);
    return this.get();
  };
  confirm = async (purpose: CaPurpose, serial: string) => void this.confirmed.push(`${purpose} ${serial}`);
  setTrust = async () => {
    this.trustDigest = 'told';
  };
}

beforeEach(async () => {
  [state, trust, id, host] = [await memoryState(), await newIdentity('installation-1'), newHostId(), new FakeHost()];
  await state.update((tx) => tx.hosts.put(enrolledHost({ id, name: 'h1', address: 'h1:7444' })));
  const serial = () => readCertificate(host.pems.get('control') ?? '').serial;
  const hosts = {
    subscribe: () => () => undefined,
    status: () => ({ state: 'up', facts: { capabilities: ['certificates'] } }),
    certificates: () => host,
    withNewConnection: (_: HostId, use: (c: FakeHost, shown: () => string) => Promise<unknown>) => use(host, serial),
  };
  const deps = { state, trust, clock: systemClock, random: systemRandom, log: silentLog };
  keeper = new CertificateKeeper({ ...deps, hosts: hosts as unknown as KeeperDeps['hosts'] });
});
afterEach(() => keeper.stop());

/** Once round. */
const look = () =>
  new Promise<void>((resolve) => {
    const end = keeper.subscribe(() => (end(), resolve()));
    keeper.look(id);
  });
const events = async () => (await state.events({ limit: 50 })).map((e) => `${e.type}: ${e.message}`);
const active = () => state.tables.certificates.byHost(id).filter((c) => c.state === 'active');

describe('the keeper of certificates', () => {
  it('gives a host what it lacks, proves it anew, and has it on record; then leaves it alone', async () => {
    await look();
    const [control, transfer] = [host.pems.get('control') ?? '', host.pems.get('transfer') ?? ''];
    expect(host.confirmed).toEqual([`control ${readCertificate(control).serial}`]);
    expect(
      active()
        .map((c) => c.serial)
        .sort(),
    ).toEqual([readCertificate(control).serial, readCertificate(transfer).serial].sort());
    expect(keeper.isReissued(id)).toBe(true);
    await look();
    expect(host.pems.get('control')).toBe(control);
  });

  it('replaces a certificate for transfers that was revoked', async () => {
    await look();
    const before = host.pems.get('transfer');
    const [row] = active().filter((c) => c.purpose === 'transfer');
    await state.update((tx) => tx.certificates.put({ ...row!, state: 'revoked' }));
    await look();
    expect(host.pems.get('transfer')).not.toBe(before);
  });

  it('takes nothing for a certificate that it did not sign for this host and purpose', async () => {
    await look();
    const mine = host.pems.get('control') ?? '';
    host.pems.set('transfer', mine);
    await look();
    expect(host.pems.get('transfer')).not.toBe(mine);
  });

  it('tells how long is left when a host refuses what it is given', async () => {
    await look();
    host.pems.delete('transfer');
    host.refusal = 'it is not valid by the clock of this host';
    for (let n = 0; n < 4; n++) await look();
    const told = (await events()).filter((e) => e.startsWith('certificate.overdue'));
    expect(told).toEqual([expect.stringMatching(/of h1 could not be renewed \(.*clock of this host\); .* in 364 d$/)]);
    expect(keeper.about(id)?.failure).toMatch(/clock of this host/);
  });

  it('tells once that a clock is wrong, and once that it is right again', async () => {
    host.aheadMs = -3_600_000;
    await look();
    await look();
    host.aheadMs = 0;
    await look();
    expect((await events()).filter((e) => e.startsWith('host.clock'))).toEqual([
      expect.stringMatching(/clock of h1 is (1 h|59 m) behind the controller's/),
      expect.stringMatching(/right again/),
    ]);
  });
});
