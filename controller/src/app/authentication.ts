/**
 * Who calls: a bearer token, or a client certificate that stands for one. What the caller may do then is access.ts's; making
 * and ending tokens is tokens.ts's, and certificates client-certificates.ts's.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Role, Token, User } from '@berth/shared/model/access.ts';
import type { Certificate } from '@berth/shared/model/certificate.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { State } from '../state/state.ts';
import { accessOfToken, type Access } from './access.ts';
import { secretMatches } from './secrets.ts';

/** A certificate whose key the peer has proven to hold: TLS has seen to that. */
export interface ShownCertificate {
  /** Lower-case hex. */
  readonly serial: string;
  /** SHA-256 (hex) of the whole certificate. */
  readonly fingerprint: string;
}

/** What a caller shows of itself. A token counts before a certificate. */
export interface Shown {
  /** Value of the `authorization` header. */
  readonly authorization: string | undefined;
  readonly certificate?: ShownCertificate | undefined;
}

export interface CallerCertificate {
  readonly serial: string;
  readonly loginId: string;
}

export interface Caller {
  readonly tokenId: string;
  /** Undefined: it showed a token. */
  readonly certificate?: CallerCertificate | undefined;
  readonly user: string;
  /** The highest that it has anywhere. */
  readonly role: Role | 'none';
  readonly access: Access;
}

export interface AuthenticationDeps {
  readonly state: Pick<State, 'tables'>;
  readonly clock: Pick<Clock, 'now'>;
}

export class Authentication {
  constructor(private readonly d: AuthenticationDeps) {}

  /** UNAUTHENTICATED, with words that say why. */
  authenticate(shown: Shown): Caller {
    const { certificate, authorization } = shown;
    if (authorization !== undefined || certificate === undefined) return this.#callerOf(this.#byText(authorization));
    const { token, loginId } = this.#byCertificate(certificate);
    return this.#callerOf(token, { serial: certificate.serial, loginId });
  }

  /** Whether who was admitted before still is. A certificate that was renewed meanwhile may have run out. */
  still({ tokenId, certificate }: Pick<Caller, 'tokenId' | 'certificate'>): Caller {
    const token = this.d.state.tables.tokens.get(tokenId);
    if (token === undefined) throw unauthenticated('your login has just been ended: log in again (berth login)');
    if (certificate !== undefined) this.#insistValid(this.d.state.tables.certificates.byLogin(certificate.loginId));
    return this.#callerOf(token, certificate);
  }

  #byText(header: string | undefined): Token {
    const [, id = '', secret = ''] = /^Bearer (token-[0-9a-z]+)\.([A-Za-z0-9_-]+)$/.exec(header ?? '') ?? [];
    const token = this.d.state.tables.tokens.get(id);
    if (!secretMatches(secret, token?.secretHash) || token === undefined) throw unauthenticated(noCredentials(header));
    return token;
  }

  #byCertificate({ serial, fingerprint }: ShownCertificate): { readonly token: Token; readonly loginId: string } {
    const { certificates, tokens } = this.d.state.tables;
    const known = certificates.get(serial);
    if (known?.client === undefined || known.client.fingerprint !== fingerprint) throw unauthenticated(strange(known));
    const token = tokens.get(known.client.tokenId);
    if (token === undefined)
      throw unauthenticated('the token of this client certificate was ended: log in again (berth login)');
    this.#insistValid([known]);
    return { token, loginId: known.client.loginId };
  }

  /** At least one of them; none when they ran out so long ago that they are forgotten. */
  #insistValid(certificates: readonly Certificate[]): void {
    if (certificates.some((c) => c.state === 'revoked'))
      throw unauthenticated('this client certificate was revoked: log in again (berth login)');
    const over = this.d.clock.now() - Math.max(0, ...certificates.map((c) => c.notAfterMs));
    if (over < 0) return;
    const when = certificates.length > 0 ? ` ${formatAge(over)} ago` : '';
    throw unauthenticated(`this client certificate ran out${when}: log in again (berth login)`);
  }

  #callerOf(token: Token, certificate?: CallerCertificate): Caller {
    const user = this.d.state.tables.users.byName(token.user);
    if (user === undefined) throw unauthenticated(noCredentials(''));
    const over = this.d.clock.now() - token.expiresAtMs;
    if (over >= 0)
      throw unauthenticated(
        `this token expired ${formatAge(over)} ago: ask an administrator for a new one (berth token create)`,
      );
    if (user.disabled) throw unauthenticated(`user ${user.name} is disabled: ask an administrator`);
    const access = this.#accessOf(user, token);
    return { tokenId: token.id, certificate, user: user.name, role: access.highest, access };
  }

  /** Grants are parsed once for each token, not at each call. */
  readonly #known = new WeakMap<Token, { readonly user: User; readonly access: Access }>();

  #accessOf(user: User, token: Token): Access {
    const known = this.#known.get(token);
    if (known?.user === user) return known.access;
    const access = accessOfToken(user, token);
    this.#known.set(token, { user, access });
    return access;
  }
}

const unauthenticated = (words: string): ClusterError => new ClusterError('UNAUTHENTICATED', words);

const noCredentials = (header: string | undefined): string =>
  header === undefined
    ? 'no token and no client certificate was shown: log in first (berth login)'
    : 'this token is not known here: log in again (berth login)';

const strange = (known: Certificate | undefined): string =>
  known !== undefined && known.purpose !== 'client'
    ? `the certificate of a host opens nothing here: log in as a user (berth login)`
    : 'this client certificate is not known here: log in again (berth login)';
