/**
 * Keeps the certificates of hosts fresh: over the connection that is open it asks what a host holds, tells it whom to
 * trust, and renews at two thirds of each certificate's life. Every step may be repeated; a host that is away is looked
 * at when it is back. What a rotation waits for is asked here. Who may be trusted is identity.ts's.
 */
import { X509Certificate } from 'node:crypto';
import { chain, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { newTraceId, type Random } from '@berth/shared/runtime/random.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { Turns } from '@berth/shared/runtime/turns.ts';
import { issuerAmong, readCertificate, trustDigest, type CertificateFacts } from '@berth/shared/trust/certificate.ts';
import { peerName } from '@berth/shared/trust/names.ts';
import { formatAge, formatDuration } from '@berth/shared/units/duration.ts';
import type { CertificateClient, HostCertificatesView } from '../hosts/certificate-client.ts';
import type { RunningHosts } from '../hosts/connections.ts';
import { clockWords } from '../hosts/faults.ts';
import type { State } from '../state/state.ts';
import type { CaPurpose } from './authority.ts';
import { checkRequest } from './csr.ts';
import type { Identity } from './identity.ts';
import { noteActive, noteSigned, revokedSerials } from './register.ts';

export interface KeeperDeps {
  readonly state: State;
  readonly hosts: Pick<RunningHosts, 'subscribe' | 'status' | 'certificates' | 'withNewConnection'>;
  readonly trust: Identity;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What is known of a host's certificates; lost with the process. */
export interface KeptHost {
  /** Of the lists that it was last seen to have. */
  readonly trustDigest: string;
  readonly held: ReadonlyMap<CaPurpose, { readonly facts: CertificateFacts; readonly issuer: string }>;
  /** Why its certificates could not be renewed at the last try. */
  readonly failure: string | undefined;
}

const PURPOSES: readonly CaPurpose[] = ['transfer', 'control'];
const KIND: Readonly<Record<CaPurpose, string>> = { control: 'host', transfer: 'transfer' };
const AT_ONCE = 16;
const SOONEST_MS = 500;
const LATEST_MS = 3_600_000;
const FIRST_RETRY_MS = 2_000;
const LAST_RETRY_MS = 300_000;
/** Failures in a row. */
const TOLD_AFTER = 3;
/** More than a good clock is ever off, less than certificates are backdated. */
const CLOCK_WARN_MS = 60_000;

interface Watched {
  timer: Timer | undefined;
  failures: number;
  running: boolean;
  again: boolean;
}

export class CertificateKeeper {
  private readonly watched = new Map<HostId, Watched>();
  private readonly kept = new Map<HostId, KeptHost>();
  private readonly wrongClocks = new Set<HostId>();
  private readonly turns = new Turns(AT_ONCE);
  private readonly changed = new Set<() => void>();
  private ends: readonly (() => void)[] = [];
  private stopped = false;
  private digest: { readonly version: number; readonly text: string } | undefined;

  constructor(private readonly d: KeeperDeps) {}

  start(): void {
    const { hosts, state, trust } = this.d;
    this.ends = [
      hosts.subscribe((e) => {
        if (e.type === 'host') this.look(e.hostId);
      }),
      trust.subscribe(() => {
        this.digest = undefined;
        this.lookAtAll();
      }),
      state.subscribe((change) => {
        const revoked = [...(change.touched.get('certificates') ?? [])].some(
          (serial) => state.tables.certificates.get(serial)?.state === 'revoked',
        );
        if (revoked) this.lookAtAll();
        for (const id of change.touched.get('hosts') ?? []) if (!state.tables.hosts.get(id)) this.forget(id as HostId);
      }),
    ];
  }

  stop(): void {
    this.stopped = true;
    for (const end of this.ends) end();
    for (const w of this.watched.values()) w.timer?.cancel();
  }

  /** Undefined: it was not looked at in this run of the controller. */
  about(hostId: HostId): KeptHost | undefined {
    return this.kept.get(hostId);
  }

  /** Answers whether a host was seen to trust exactly whom it should now. */
  isToldAll(): (hostId: HostId) => boolean {
    const digest = this.wantedDigest();
    return (hostId) => this.kept.get(hostId)?.trustDigest === digest;
  }

  /** Whether all its certificates are in service and come from the CAs that issue now. */
  isReissued(hostId: HostId): boolean {
    const held = this.kept.get(hostId)?.held;
    return PURPOSES.every((p) => held?.get(p)?.issuer === this.d.trust.issuing[p]);
  }

  /** Called when something has been learnt about a host. */
  subscribe(listener: () => void): () => void {
    this.changed.add(listener);
    return () => this.changed.delete(listener);
  }

  lookAtAll(): void {
    for (const host of this.d.state.tables.hosts.values()) this.look(host.id);
  }

  /** Looks at one host as soon as there is a turn. */
  look(hostId: HostId): void {
    const { state } = this.d.hosts.status(hostId);
    if (this.stopped || (state !== 'up' && state !== 'maintenance')) return;
    const w = this.watched.get(hostId) ?? { timer: undefined, failures: 0, running: false, again: false };
    this.watched.set(hostId, w);
    w.timer?.cancel();
    if (w.running) return void (w.again = true);
    w.running = true;
    void this.turns.run(() => this.tend(hostId, w));
  }

  private forget(hostId: HostId): void {
    this.watched.get(hostId)?.timer?.cancel();
    this.watched.delete(hostId);
    this.kept.delete(hostId);
    this.wrongClocks.delete(hostId);
  }

  private async tend(hostId: HostId, w: Watched): Promise<void> {
    const { clock, random, log, state, hosts } = this.d;
    const host = state.tables.hosts.get(hostId);
    let nextMs = LATEST_MS;
    try {
      if (host && !this.stopped && this.able(hostId)) nextMs = await this.bringUpToDate(host);
      w.failures = 0;
    } catch (e) {
      nextMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(w.failures++, 10));
      const { state: now } = hosts.status(hostId);
      if (host && !this.stopped && (now === 'up' || now === 'maintenance')) {
        await this.fail(host, chain(e), w.failures);
        log.warn({ host: host.name, err: e }, 'the certificates of a host could not be brought up to date');
      }
    }
    w.running = false;
    if (this.stopped || this.watched.get(hostId) !== w) return;
    for (const listener of this.changed) listener();
    if (w.again) {
      w.again = false;
      return this.look(hostId);
    }
    const soon = Math.max(SOONEST_MS, nextMs * (1 - random.next() / 20));
    w.timer = clock.after(soon, () => this.look(hostId));
  }

  private able(hostId: HostId): boolean {
    return this.d.hosts.status(hostId).facts?.capabilities.includes('certificates') ?? false;
  }

  /** @returns milliseconds until the host should be looked at again. */
  private async bringUpToDate(host: Host): Promise<number> {
    const { hosts, clock } = this.d;
    const client = hosts.certificates(host.id);
    let view = await client.get();
    await this.compareClocks(host, view.clockMs - clock.now());
    if (view.trustDigest !== this.wantedDigest()) {
      await client.setTrust(this.wanted());
      view = await client.get();
    }
    this.note(host, view);
    if (view.unconfirmed.has('control')) await this.prove(host, view.pems.get('control') ?? '');
    for (const purpose of PURPOSES) if (this.isDue(host.id, purpose)) view = await this.renew(host, purpose, client);
    await this.record(host, view);
    const dueMs = [...(this.kept.get(host.id)?.held.values() ?? [])].map((h) => h.facts.renewAtMs - clock.now());
    return Math.min(LATEST_MS, ...dueMs);
  }

  /** Told once, and once more when it is right again. */
  private async compareClocks(host: Host, aheadMs: number): Promise<void> {
    const wrong = Math.abs(aheadMs) > CLOCK_WARN_MS;
    if (wrong === this.wrongClocks.has(host.id)) return;
    if (wrong) this.wrongClocks.add(host.id);
    else this.wrongClocks.delete(host.id);
    const message = wrong
      ? `${clockWords(host.name, aheadMs)}: certificates, tickets and times in logs depend on it. Set it right (NTP)`
      : `the clock of ${host.name} is right again`;
    const severity = wrong ? 'warning' : 'info';
    const about = { type: 'host.clock', subjectKind: 'host' as const, subject: host.name, jobId: undefined };
    await this.d.state.update((tx) => tx.event({ ...about, severity, message }));
  }

  private isDue(hostId: HostId, purpose: CaPurpose): boolean {
    const { clock, trust, state } = this.d;
    const held = this.kept.get(hostId)?.held.get(purpose);
    if (held === undefined || held.issuer !== trust.issuing[purpose]) return true;
    const { serial, notBeforeMs, renewAtMs } = held.facts;
    const revoked = state.tables.certificates.get(serial)?.state === 'revoked';
    return revoked || clock.now() >= renewAtMs || clock.now() < notBeforeMs;
  }

  private async renew(host: Host, purpose: CaPurpose, client: CertificateClient): Promise<HostCertificatesView> {
    const { trust, clock, state, log } = this.d;
    const request = await checkRequest(await client.prepare(purpose, newTraceId()));
    const caPem = trust.issuing[purpose];
    const certificatePem = await trust.authority.signHost(purpose, request, host.id, clock.now());
    const signed = { host, purpose, certificatePem, caPem };
    // on record before it leaves: whatever is valid can be revoked
    await state.update((tx) => void noteSigned(tx, { ...signed, state: 'issued' }));
    const view = await client.install(purpose, certificatePem);
    if (purpose === 'control') await this.prove(host, certificatePem);
    this.note(host, view);
    const { serial, notAfterMs } = readCertificate(certificatePem);
    const validFor = formatDuration(notAfterMs - clock.now());
    log.info({ host: host.name, purpose, serial, validFor }, 'a certificate was renewed');
    return view;
  }

  /** A new connection with the new certificate; only then does the host let go of the pair before it. */
  private async prove(host: Host, certificatePem: string): Promise<void> {
    const { serial } = readCertificate(certificatePem);
    await this.d.hosts.withNewConnection(host.id, async (fresh, shown) => {
      await fresh.get();
      if (shown() !== serial)
        throw new ClusterError('BAD_STATE', `host ${host.name} does not use the certificate that it was given`);
      await fresh.confirm('control', serial);
    });
  }

  private async record(host: Host, view: HostCertificatesView): Promise<void> {
    const { state } = this.d;
    const news = PURPOSES.filter((purpose) => {
      const held = this.kept.get(host.id)?.held.get(purpose);
      const known = held && state.tables.certificates.get(held.facts.serial)?.state;
      return held && known !== 'active' && known !== 'revoked';
    });
    if (news.length === 0) return;
    await state.update((tx) => {
      if (!tx.hosts.get(host.id)) return;
      for (const purpose of news) {
        const certificatePem = view.pems.get(purpose);
        const caPem = this.kept.get(host.id)?.held.get(purpose)?.issuer;
        if (certificatePem && caPem) noteActive(tx, { host, purpose, certificatePem, caPem, state: 'active' });
      }
    });
  }

  /** What an agent says that it holds counts only when we signed it, for this host and purpose. */
  private note(host: Host, view: HostCertificatesView): void {
    const held = new Map<CaPurpose, { facts: CertificateFacts; issuer: string }>();
    for (const [purpose, pem] of view.pems) {
      const issuer = issuerOf(pem, host.id, purpose, this.d.trust);
      if (issuer !== undefined) held.set(purpose, { facts: readCertificate(pem), issuer });
    }
    this.kept.set(host.id, { trustDigest: view.trustDigest, held, failure: undefined });
  }

  /** Told when it does not pass by itself: how long is left, and why. */
  private async fail(host: Host, failure: string, times: number): Promise<void> {
    const { clock, state } = this.d;
    const before = this.kept.get(host.id) ?? { trustDigest: '', held: new Map<never, never>() };
    this.kept.set(host.id, { ...before, failure });
    const ends = [...before.held.values()].map((h) => h.facts.notAfterMs - clock.now());
    if (times !== TOLD_AFTER || ends.length === 0) return;
    const message = `the certificates of ${host.name} could not be renewed (${failure}); the first runs out in ${formatAge(Math.min(...ends))}`;
    const about = { type: 'certificate.overdue', subjectKind: 'host' as const, subject: host.name, jobId: undefined };
    await state.update((tx) => tx.event({ ...about, severity: 'warning', message })).catch(() => undefined);
  }

  private wanted() {
    const { trust, state } = this.d;
    return { control: trust.cas.control, transfer: trust.cas.transfer, revoked: revokedSerials(state.tables) };
  }

  /** Asked for each host, so it is kept until something changes. */
  private wantedDigest(): string {
    const { version } = this.d.state.tables.certificates;
    if (this.digest?.version !== version) this.digest = { version, text: trustDigest(this.wanted()) };
    return this.digest.text;
  }
}

function issuerOf(pem: string, hostId: HostId, purpose: CaPurpose, trust: Identity): string | undefined {
  try {
    const certificate = new X509Certificate(pem);
    const name = peerName(certificate.subjectAltName);
    if (name?.kind !== KIND[purpose] || name.id !== hostId) return undefined;
    return issuerAmong(certificate, trust.cas[purpose]);
  } catch {
    return undefined;
  }
}
