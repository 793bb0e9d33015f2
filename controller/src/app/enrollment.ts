/** Gives a host its certificate for a join token: once, for one key. The controller sets every name. */
import { createHash, X509Certificate } from 'node:crypto';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { JoinToken } from '@berth/shared/model/access.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { State } from '../state/state.ts';
import type { Authority } from '../trust/authority.ts';
import { checkRequest } from '../trust/csr.ts';
import { secretMatches } from './secrets.ts';

export interface Enrolled {
  readonly host: Host;
  readonly certificatePem: string;
  readonly caPem: string;
}

export class Enrollment {
  constructor(
    private readonly state: State,
    private readonly authority: Authority,
    private readonly clock: Clock,
  ) {}

  async enroll(r: { tokenId: string; tokenSecret: string; csrPem: string }): Promise<Enrolled> {
    const { host } = this.check(r);
    const request = await checkRequest(r.csrPem);
    const signed = await this.authority.signHost(request, host.id, this.clock.now());
    return this.state.update((tx) => {
      const now = this.check(r);
      const given = certificateFor(now.token, request.keyFingerprint);
      if (given !== undefined) return { host: now.host, certificatePem: given, caPem: this.authority.caPem };
      const certificateFingerprint = fingerprint(signed);
      tx.joinTokens.put({
        ...now.token,
        usedBy: { keyFingerprint: request.keyFingerprint, certificatePem: signed },
      });
      tx.hosts.put({ ...now.host, certificateFingerprint });
      tx.event({
        type: 'host.enrolled',
        severity: 'info',
        subjectKind: 'host',
        subject: now.host.name,
        message: `host ${now.host.name} enrolled (certificate ${certificateFingerprint.slice(0, 16)}…)`,
        jobId: undefined,
      });
      return { host: now.host, certificatePem: signed, caPem: this.authority.caPem };
    });
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

/** The certificate that this key got for this token before; undefined when the token is unused. */
function certificateFor(token: JoinToken, keyFingerprint: string): string | undefined {
  if (token.usedBy === undefined) return undefined;
  if (token.usedBy.keyFingerprint === keyFingerprint) return token.usedBy.certificatePem;
  throw new ClusterError(
    'PERMISSION_DENIED',
    'this join token has been used already, with another key. If that was not you, make a new one: berth host token NAME',
  );
}

const fingerprint = (pem: string): string => createHash('sha256').update(new X509Certificate(pem).raw).digest('hex');
