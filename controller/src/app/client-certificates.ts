/**
 * Certificates of command lines: the proof is a key that never leaves the caller's machine. Each stands for the token that it
 * was got with, may do what that may, and is renewed until that ends. Looking at them and revoking them is certificates.ts's;
 * checking one that was shown is authentication.ts's.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Token } from '@berth/shared/model/access.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { readCertificate } from '@berth/shared/trust/certificate.ts';
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import { actAsNobody } from '../state/actor.ts';
import type { State, Tx } from '../state/state.ts';
import type { Authority, Issued } from '../trust/authority.ts';
import { checkRequest } from '../trust/csr.ts';
import type { CallerCertificate } from './authentication.ts';
import { checkDescription } from './tokens.ts';

export interface ClientCertificatesDeps {
  readonly state: State;
  readonly authority: Pick<Authority, 'signClient'>;
  readonly clock: Clock;
}

export interface ClientRequest {
  /** PKCS #10, PEM. */
  readonly csrPem: string;
  /** What it is for, unless one is renewed. */
  readonly description: string;
}

/** Who asks, and with what. */
interface Asker {
  readonly tokenId: string;
  readonly certificate: CallerCertificate | undefined;
}

/** Scripts that log in each time and never out must not fill the memory: the oldest make room. */
const MOST_OF_TOKEN = 10_000;
/** Of one login: far more than commands that all find it due at the same moment. */
const MOST_VALID = 100;

/** Kept for so long after it ran out by our clock, which may be a year ahead: it is good again when that is mended. */
const KEPT_MS = 400 * 86_400_000;

/** Whether a certificate of that token lasts as long as the token, and so is not renewed. Certificates have whole seconds. */
export const isLastOf = (token: Token, notAfterMs: number): boolean => notAfterMs > token.expiresAtMs - 1_000;

export class ClientCertificates {
  constructor(private readonly d: ClientCertificatesDeps) {}

  /** @returns renewsAtMs undefined: it ends with its token. */
  async issue(
    r: ClientRequest,
    by: Asker,
  ): Promise<{ readonly certificatePem: string; readonly renewsAtMs: number | undefined }> {
    const { state, clock, authority } = this.d;
    const request = await checkRequest(r.csrPem);
    const description = checkDescription(r.description);
    const token = find(state.tables.tokens.get(by.tokenId));
    const nowMs = clock.now();
    const loginId = by.certificate?.loginId ?? newId('login', nowMs);
    const issued = await authority.signClient(
      request,
      { user: token.user, loginId, untilMs: token.expiresAtMs },
      nowMs,
    );
    await state.update((tx) => {
      find(tx.tokens.get(token.id));
      note(tx, { token, loginId, description, issued });
    });
    await this.#forgetOver();
    const { notAfterMs, renewAtMs } = readCertificate(issued.certificatePem);
    const renewsAtMs = isLastOf(token, notAfterMs) ? undefined : renewAtMs;
    return { certificatePem: issued.certificatePem, renewsAtMs };
  }

  /** Certificates that ran out long ago leave nothing; this is nobody's doing, and in nobody's audit row. */
  async #forgetOver(): Promise<void> {
    const { state } = this.d;
    const over = (nowMs: number) =>
      state.tables.certificates.byHost('').filter((c) => c.client !== undefined && c.notAfterMs + KEPT_MS <= nowMs);
    if (over(this.d.clock.now()).length === 0) return;
    await actAsNobody(() =>
      state.update((tx) => {
        for (const c of over(tx.nowMs)) tx.certificates.delete(c.serial);
      }),
    );
  }
}

function find(token: Token | undefined): Token {
  if (token !== undefined) return token;
  throw new ClusterError('UNAUTHENTICATED', 'your token has just been ended: log in again (berth login)');
}

interface Made {
  readonly token: Token;
  readonly loginId: string;
  readonly description: string;
  readonly issued: Issued;
}

/** Those before it stay valid: commands that run now were begun with them. */
function note(tx: Tx, { token, loginId, description, issued }: Made): void {
  const { serial, notBeforeMs, notAfterMs } = readCertificate(issued.certificatePem);
  const before = tx.certificates.byLogin(loginId);
  insistGood(before.filter((c) => c.notAfterMs > tx.nowMs).map((c) => c.state));
  makeRoom(tx, token.id);
  for (const c of before) if (c.state === 'active') tx.certificates.put({ ...c, state: 'replaced' });
  const fingerprint = createHash('sha256').update(new X509Certificate(issued.certificatePem).raw).digest('hex');
  const text = before[0]?.client?.description ?? description;
  tx.certificates.put({
    ...{ serial, purpose: 'client', hostId: '', subject: token.user, issuerPin: publicKeyPin(issued.caPem) },
    ...{ notBeforeMs, notAfterMs, state: 'active', revokedAtMs: undefined, why: undefined },
    client: { tokenId: token.id, loginId, fingerprint, description: text },
  });
}

function makeRoom(tx: Tx, tokenId: string): void {
  const all = tx.certificates.byToken(tokenId);
  if (all.length < MOST_OF_TOKEN) return;
  const oldest = all.reduce((a, b) => (b.notBeforeMs < a.notBeforeMs ? b : a));
  tx.certificates.delete(oldest.serial);
}

function insistGood(states: readonly string[]): void {
  if (states.includes('revoked'))
    throw new ClusterError('UNAUTHENTICATED', 'this client certificate was revoked: log in again (berth login)');
  if (states.length >= MOST_VALID)
    throw new ClusterError(
      'RATE_LIMITED',
      `this login has ${MOST_VALID} certificates that are valid: it can be renewed when the first has run out`,
      { retryAfterMs: '60000' },
    );
}
