/** What people may do with certificates: look, revoke, rotate the CAs. Renewal needs nobody; see trust/keeper.ts. */
import { badState, ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Certificate } from '@berth/shared/model/certificate.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { readCertificate, serialOf } from '@berth/shared/trust/certificate.ts';
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { caRotate } from '../jobs/ca-rotate.ts';
import type { State, Tx } from '../state/state.ts';
import type { CaPurpose } from '../trust/authority.ts';
import type { Trust } from '../trust/identity.ts';
import type { CertificateKeeper } from '../trust/keeper.ts';
import { MAX_REVOKED, revoke } from '../trust/register.ts';
import { isLastOf } from './client-certificates.ts';

export interface CertificatesDeps {
  readonly state: State;
  readonly jobs: Jobs;
  readonly trust: Trust;
  readonly keeper: Pick<CertificateKeeper, 'about'>;
  readonly clock: Clock;
}

export interface CertificateView {
  readonly serial: string;
  readonly purpose: 'control-ca' | 'transfer-ca' | Certificate['purpose'];
  readonly subject: string;
  readonly issuerPin: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Undefined: it is not renewed any more. */
  readonly renewsAtMs: number | undefined;
  readonly state: Certificate['state'] | 'next' | 'expired';
  readonly reason: string;
  readonly description: string;
}

const DAY_MS = 86_400_000;
const OVERLAP_MS = DAY_MS;
const PATIENCE_MS = 7 * DAY_MS;
const LONGEST_MS = 365 * DAY_MS;
const SHORTEST_PREFIX = 8;

export class Certificates {
  constructor(private readonly d: CertificatesDeps) {}

  /** CAs first, then the controller's, then those of hosts and users by name. @param all also what was replaced. */
  list(all: boolean): readonly CertificateView[] {
    const { trust, state } = this.d;
    const cas = (['control', 'transfer'] as const).flatMap((p) => trust.cas[p].map((pem, i) => this.ofCa(p, pem, i)));
    const own = this.ofPem('controller', trust.certificatePem, { issuer: trust.caPem, state: 'active' });
    const hosts = [...state.tables.certificates.values()]
      .filter((c) => all || c.state !== 'replaced')
      .map((c) => this.ofIssued(c))
      .sort((a, b) => a.subject.localeCompare(b.subject) || a.purpose.localeCompare(b.purpose));
    return [...cas, own, ...hosts];
  }

  /**
   * @param which a serial, the beginning of one, or the name of a host.
   * @param onlyOwn the caller may end its own, and learns nothing of others.
   */
  async revoke(which: string, user: string, onlyOwn = false): Promise<readonly CertificateView[]> {
    const { trust, state } = this.d;
    const serial = serialOf(which);
    if (onlyOwn) insistOwn(state.tables.certificates.get(serial), user);
    const isOwn = matches(which, readCertificate(trust.certificatePem).serial, serial);
    if (isOwn) return this.revokeOwn(user);
    for (const pem of [...trust.cas.control, ...trust.cas.transfer])
      if (matches(which, readCertificate(pem).serial, serial))
        throw badState('a CA is not revoked, it is replaced: berth cert rotate-ca');
    const revoked = await state.update((tx) => {
      const found = withRenewed(tx, find(tx, which, serial)).filter((c) => c.state !== 'revoked');
      const forHosts = found.filter((c) => c.client === undefined);
      if (forHosts.length > 0 && tx.certificates.revoked().length + forHosts.length > MAX_REVOKED)
        throw badState(
          `${MAX_REVOKED} certificates are revoked, hosts keep no more: rotate the CAs (berth cert rotate-ca)`,
        );
      for (const c of found) revoke(tx, c, `revoked by ${user}`);
      for (const c of found) endSession(tx, c);
      if (found.length > 0) tell(tx, found[0]!.subject, `${user} revoked ${words(found)}`);
      return found.map((c) => tx.certificates.get(c.serial) ?? c);
    });
    return revoked.map((c) => this.ofIssued(c));
  }

  /** @returns the job. */
  async rotate(r: { overlapMs: number; patienceMs: number; leaveBehind: boolean }, user: string): Promise<JobId> {
    const { jobs, state, trust } = this.d;
    if (r.leaveBehind) {
      const id = trust.hurryRotation();
      if (id === undefined) throw badState('no rotation of the CAs is under way that could leave hosts behind');
      return id as JobId;
    }
    const params = {
      overlapMs: Math.min(LONGEST_MS, r.overlapMs || OVERLAP_MS),
      patienceMs: Math.min(LONGEST_MS, r.patienceMs || PATIENCE_MS),
    };
    return state.update((tx) => {
      tell(tx, 'ca', `${user} began to replace the CAs`);
      return jobs.start(tx, caRotate, params, { subject: 'ca', user, locks: ['ca:exclusive'] });
    });
  }

  /** By itself, because the CAs are due; nothing happens while a rotation is under way. */
  async rotateWhenDue(): Promise<void> {
    if (this.d.state.tables.jobs.holders('ca').length > 0) return;
    const { trust, clock } = this.d;
    const ends = [...trust.cas.control, ...trust.cas.transfer].map((pem) => readCertificate(pem).notAfterMs);
    // over before the old ones are
    const leftMs = Math.max(4, Math.min(...ends) - clock.now());
    const overlapMs = Math.min(OVERLAP_MS, Math.floor(leftMs / 4));
    const patienceMs = Math.min(PATIENCE_MS, Math.floor(leftMs / 2));
    await this.rotate({ overlapMs, patienceMs, leaveBehind: false }, 'berth');
  }

  /** A new key at once; the old certificate opens nothing from now on. */
  private async revokeOwn(user: string): Promise<readonly CertificateView[]> {
    const { trust, state, clock } = this.d;
    const { serial, notBeforeMs, notAfterMs } = readCertificate(trust.certificatePem);
    const issuerPin = publicKeyPin(trust.caPem);
    await trust.renewOwn(clock.now());
    const row: Certificate = {
      ...{ serial, purpose: 'controller', hostId: '', subject: 'controller', issuerPin, notBeforeMs, notAfterMs },
      ...{ state: 'revoked', revokedAtMs: clock.now(), why: `revoked by ${user}` },
    };
    await state.update((tx) => {
      tx.certificates.put(row);
      tell(tx, 'controller', `${user} revoked the controller's certificate ${serial.slice(0, 16)}…; it has a new one`);
    });
    return [this.ofIssued(row)];
  }

  private ofCa(purpose: CaPurpose, pem: string, index: number): CertificateView {
    return this.ofPem(`${purpose}-ca`, pem, { issuer: pem, state: index === 0 ? 'active' : 'next' });
  }

  private ofPem(
    purpose: CertificateView['purpose'],
    pem: string,
    about: { issuer: string; state: CertificateView['state'] },
  ): CertificateView {
    const { serial, notBeforeMs, notAfterMs, renewAtMs } = readCertificate(pem);
    const base = {
      serial,
      purpose,
      subject: 'controller',
      issuerPin: publicKeyPin(about.issuer),
      notBeforeMs,
      notAfterMs,
    };
    return {
      ...base,
      renewsAtMs: renewAtMs,
      state: this.expired(notAfterMs) ?? about.state,
      reason: '',
      description: '',
    };
  }

  private ofIssued(c: Certificate): CertificateView {
    const token = c.client && this.d.state.tables.tokens.get(c.client.tokenId);
    const orphaned = c.client !== undefined && token === undefined && c.state !== 'revoked';
    const state = orphaned || c.state === 'revoked' ? 'revoked' : (this.expired(c.notAfterMs) ?? c.state);
    const isRenewed = state === 'active' && !(token && isLastOf(token, c.notAfterMs));
    const { serial, purpose, subject, issuerPin, notBeforeMs, notAfterMs } = c;
    return {
      ...{ serial, purpose, subject, issuerPin, notBeforeMs, notAfterMs, state },
      renewsAtMs: isRenewed ? notBeforeMs + Math.floor(((notAfterMs - notBeforeMs) * 2) / 3) : undefined,
      reason: c.why ?? (orphaned ? 'its token was ended' : this.failureOf(c)) ?? '',
      description: c.client?.description ?? '',
    };
  }

  /** Why the certificates of its host could not be renewed. */
  private failureOf({ hostId, state }: Certificate): string | undefined {
    return hostId !== '' && state === 'active' ? this.d.keeper.about(hostId)?.failure : undefined;
  }

  private expired(notAfterMs: number): 'expired' | undefined {
    return this.d.clock.now() >= notAfterMs ? 'expired' : undefined;
  }
}

const matches = (which: string, serial: string, wanted: string): boolean =>
  serial === wanted || (which.length >= SHORTEST_PREFIX && /^[0-9a-f]+$/i.test(which) && serial.startsWith(wanted));

/** Whoever has a stolen certificate may have renewed it: all of one login end together. */
const withRenewed = (tx: Tx, found: readonly Certificate[]): readonly Certificate[] =>
  found.flatMap((c) => (c.client === undefined ? [c] : tx.certificates.byLogin(c.client.loginId)));

/** The token of a login by password served nothing but that certificate. */
function endSession(tx: Tx, c: Certificate): void {
  if (c.client !== undefined && tx.tokens.get(c.client.tokenId)?.session === true) tx.tokens.delete(c.client.tokenId);
}

function insistOwn(c: Certificate | undefined, user: string): void {
  if (c?.client !== undefined && c.subject === user) return;
  throw new ClusterError(
    'PERMISSION_DENIED',
    `the certificates of others are for administrators; ${user} may revoke its own by their whole serials`,
  );
}

function find(tx: Tx, which: string, serial: string): readonly Certificate[] {
  const exact = tx.certificates.get(serial);
  if (exact) return [exact];
  const host = tx.hosts.byName(which) ?? tx.hosts.get(which);
  if (host) return tx.certificates.byHost(host.id);
  const found = [...tx.certificates.values()].filter((c) => matches(which, c.serial, serial));
  if (found.length === 1) return found;
  const what = JSON.stringify(which.slice(0, 80));
  if (found.length > 1)
    throw new ClusterError(
      'INVALID_ARGUMENT',
      `${found.length} certificates begin with ${what}: give more of the serial`,
    );
  throw notFound(`no certificate has the serial ${what}, and no host that name. See: berth cert list`);
}

const words = (all: readonly Certificate[]): string =>
  all.length === 1
    ? `the ${all[0]!.purpose} certificate ${all[0]!.serial.slice(0, 16)}… of ${all[0]!.subject}`
    : `${all.length} certificates of ${all[0]!.subject}`;

function tell(tx: Tx, subject: string, message: string): void {
  const subjectKind = tx.hosts.byName(subject) ? 'host' : 'controller';
  tx.event({ type: 'certificate.changed', severity: 'warning', subjectKind, subject, message, jobId: undefined });
}
