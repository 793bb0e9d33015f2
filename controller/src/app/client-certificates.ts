/**
 * Certificates of command lines: a login whose proof is a key that never leaves the caller's machine. Each stands for a token
 * without a secret, which says what it may do, and whose end moves on with each renewal. Looking at them and revoking them is
 * certificates.ts's; checking one that was shown is authentication.ts's.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Token } from '@berth/shared/model/access.ts';
import { newId, type TokenId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { readCertificate } from '@berth/shared/trust/certificate.ts';
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import type { State, Tx } from '../state/state.ts';
import type { Authority, Issued } from '../trust/authority.ts';
import { checkRequest } from '../trust/csr.ts';
import { checkDescription } from './tokens.ts';

export interface ClientCertificatesDeps {
  readonly state: State;
  readonly authority: Pick<Authority, 'signClient'>;
  readonly clock: Clock;
}

export interface ClientRequest {
  /** PKCS #10, PEM. */
  readonly csrPem: string;
  /** What a new login is for. */
  readonly description: string;
}

/** Of one login: far more than commands that all find it due at the same moment. */
const MOST_VALID = 100;

export class ClientCertificates {
  constructor(private readonly d: ClientCertificatesDeps) {}

  /**
   * @param shown id of the token, or of the login, that the caller called with.
   * @returns renewsAtMs undefined: it ends with its login, which nothing prolongs.
   */
  async issue(
    r: ClientRequest,
    shown: string,
  ): Promise<{ readonly certificatePem: string; readonly renewsAtMs: number | undefined }> {
    const { state, clock, authority } = this.d;
    const request = await checkRequest(r.csrPem);
    const description = checkDescription(r.description);
    const from = find(state.tables.tokens.get(shown));
    const nowMs = clock.now();
    const tokenId = from.certificate === true ? from.id : newId('token', nowMs);
    const untilMs = from.session === true ? from.expiresAtMs : Infinity;
    const issued = await authority.signClient(request, { user: from.user, tokenId, untilMs }, nowMs);
    const { notAfterMs, renewAtMs } = readCertificate(issued.certificatePem);
    await state.update((tx) => {
      const token = find(tx.tokens.get(shown));
      forgetOver(tx);
      insistRoom(tx, tokenId);
      const expiresAtMs = token.session === true ? token.expiresAtMs : notAfterMs;
      if (token.certificate === true) tx.tokens.put({ ...token, expiresAtMs });
      else begin(tx, token, { tokenId, expiresAtMs, description });
      noteClient(tx, { tokenId, user: token.user, issued });
    });
    const { certificatePem } = issued;
    // a certificate has whole seconds
    return { certificatePem, renewsAtMs: notAfterMs > untilMs - 1_000 ? undefined : renewAtMs };
  }
}

function find(token: Token | undefined): Token {
  if (token !== undefined) return token;
  throw new ClusterError('UNAUTHENTICATED', 'your login has just been ended: log in again (berth login)');
}

interface Begun {
  readonly tokenId: TokenId;
  readonly expiresAtMs: number;
  readonly description: string;
}

/** A new login. One by password passes over to its certificate; the secret of another token may be used elsewhere too. */
function begin(tx: Tx, token: Token, { tokenId, expiresAtMs, description }: Begun): void {
  const { user, role, session } = token;
  const text = description || token.description;
  tx.tokens.put({
    ...{ id: tokenId, user, role, secretHash: '', createdAtMs: tx.nowMs, expiresAtMs, certificate: true },
    ...(text ? { description: text } : {}),
    ...(session === true ? { session } : {}),
  });
  if (session === true) tx.tokens.delete(token.id);
  const message = `${user} logged in with a client certificate${text ? ` (${text})` : ''}`;
  const about = { severity: 'info', subjectKind: 'token', subject: tokenId, jobId: undefined } as const;
  tx.event({ ...about, type: 'token.created', message });
}

/** Those before it stay valid: commands that run now were begun with them. */
function noteClient(tx: Tx, c: { tokenId: TokenId; user: string; issued: Issued }): void {
  const { serial, notBeforeMs, notAfterMs } = readCertificate(c.issued.certificatePem);
  const { raw } = new X509Certificate(c.issued.certificatePem);
  const fingerprint = createHash('sha256').update(raw).digest('hex');
  for (const old of ofLogin(tx, c.tokenId))
    if (old.state === 'active') tx.certificates.put({ ...old, state: 'replaced' });
  tx.certificates.put({
    ...{ serial, purpose: 'client', hostId: '', subject: c.user, issuerPin: publicKeyPin(c.issued.caPem) },
    ...{ notBeforeMs, notAfterMs, state: 'active', revokedAtMs: undefined, why: undefined },
    client: { tokenId: c.tokenId, fingerprint },
  });
}

const ofLogin = (tx: Tx, tokenId: string) =>
  tx.certificates.byHost('').filter((c) => c.client?.tokenId === tokenId);

function insistRoom(tx: Tx, tokenId: string): void {
  if (ofLogin(tx, tokenId).length < MOST_VALID) return;
  throw new ClusterError(
    'RATE_LIMITED',
    `this login has ${MOST_VALID} certificates that are valid: it can be renewed when the first of them has run out`,
    { retryAfterMs: '60000' },
  );
}

/** Certificates that ran out, and logins that nobody renewed, leave nothing. */
function forgetOver(tx: Tx): void {
  for (const c of tx.certificates.byHost('')) {
    if (c.client === undefined || c.notAfterMs > tx.nowMs) continue;
    tx.certificates.delete(c.serial);
    const token = tx.tokens.get(c.client.tokenId);
    if (token !== undefined && token.expiresAtMs <= tx.nowMs) tx.tokens.delete(token.id);
  }
}
