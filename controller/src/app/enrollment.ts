/** Gives a host its certificates for a join token: once, for one pair of keys. The controller sets every name. */
import { createHash, X509Certificate } from 'node:crypto';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { JoinToken } from '@berth/shared/model/access.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { State, Tx } from '../state/state.ts';
import type { CaPurpose } from '../trust/authority.ts';
import { checkRequest } from '../trust/csr.ts';
import type { Identity } from '../trust/identity.ts';
import { noteSigned, revokeAllOf } from '../trust/register.ts';
import { secretMatches } from './secrets.ts';

export interface Enrolled {
  readonly host: Host;
  readonly certificatePem: string;
  /** Empty when none was asked for. */
  readonly transferCertificatePem: string;
  readonly cas: Identity['cas'];
}

export interface EnrollRequest {
  readonly tokenId: string;
  readonly tokenSecret: string;
  readonly csrPem: string;
  /** Empty: none is asked for. */
  readonly transferCsrPem: string;
}

interface Given {
  readonly keyFingerprint: string;
  readonly certificatePem: string;
}

type Trusted = Pick<Identity, 'authority' | 'cas' | 'issuing'>;

export class Enrollment {
  constructor(
    private readonly state: State,
    private readonly trust: Trusted,
    private readonly clock: Clock,
  ) {}

  async enroll(r: EnrollRequest): Promise<Enrolled> {
    const { host } = this.check(r);
    const { cas, issuing } = this.trust;
    const control = await this.sign('control', r.csrPem, host);
    const transfer = r.transferCsrPem === '' ? undefined : await this.sign('transfer', r.transferCsrPem, host);
    return this.state.update((tx) => {
      const now = this.check(r);
      const given = givenBefore(now.token, control, transfer);
      if (given === undefined) this.record(tx, now, { control, transfer, issuing });
      const { certificatePem, transfer: sent } = given ?? { ...control, transfer };
      return { host: now.host, certificatePem, transferCertificatePem: sent?.certificatePem ?? '', cas };
    });
  }

  private record(
    tx: Tx,
    { token, host }: { token: JoinToken; host: Host },
    made: { control: Given; transfer: Given | undefined; issuing: Identity['issuing'] },
  ): void {
    const { control, transfer, issuing } = made;
    tx.joinTokens.put({ ...token, usedBy: { ...control, ...(transfer ? { transfer } : {}) } });
    const again = host.certificateFingerprint !== undefined;
    revokeAllOf(tx, host.id, 'the host was enrolled again');
    const note = (purpose: CaPurpose, { certificatePem }: Given) =>
      noteSigned(tx, { host, purpose, certificatePem, caPem: issuing[purpose], state: 'active' });
    note('control', control);
    if (transfer) note('transfer', transfer);
    const certificateFingerprint = fingerprint(control.certificatePem);
    tx.hosts.put({ ...host, certificateFingerprint });
    tx.event({
      type: 'host.enrolled',
      severity: 'info',
      subjectKind: 'host',
      subject: host.name,
      message:
        `host ${host.name} enrolled${again ? ' again' : ''} (certificate ${certificateFingerprint.slice(0, 16)}…)` +
        (again ? '; its certificates of before are revoked' : ''),
      jobId: undefined,
    });
  }

  private async sign(purpose: CaPurpose, csrPem: string, host: Host): Promise<Given> {
    const request = await checkRequest(csrPem);
    const certificatePem = await this.trust.authority.signHost(purpose, request, host.id, this.clock.now());
    return { keyFingerprint: request.keyFingerprint, certificatePem };
  }

  private check(r: { tokenId: string; tokenSecret: string }): { token: JoinToken; host: Host } {
    const { joinTokens, hosts } = this.state.tables;
    const token = joinTokens.get(r.tokenId);
    const host = token && hosts.get(token.hostId);
    if (!secretMatches(r.tokenSecret, token?.secretHash) || !token || !host)
      throw refused('this join token is not valid any more, or never was', 'NAME');
    const over = this.clock.now() - token.expiresAtMs;
    if (over >= 0) throw refused(`this join token for host ${host.name} expired ${formatAge(over)} ago`, host.name);
    return { token, host };
  }
}

const refused = (why: string, name: string): ClusterError =>
  new ClusterError('UNAUTHENTICATED', `${why}. Make a new one: berth host token ${name}`);

/** What these keys got for this token before; undefined when the token is unused. */
function givenBefore(token: JoinToken, control: Given, transfer: Given | undefined): JoinToken['usedBy'] {
  const { usedBy } = token;
  if (usedBy === undefined) return undefined;
  const same =
    usedBy.keyFingerprint === control.keyFingerprint &&
    (transfer === undefined || usedBy.transfer?.keyFingerprint === transfer.keyFingerprint);
  if (same) return usedBy;
  throw new ClusterError(
    'PERMISSION_DENIED',
    'this join token has been used already, with another key. If that was not you, make a new one: berth host token NAME',
  );
}

const fingerprint = (pem: string): string => createHash('sha256').update(new X509Certificate(pem).raw).digest('hex');
