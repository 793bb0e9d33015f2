/**
 * Logging in with a name and a password: gives a token that ends by itself. Guessing is slow: each wrong password makes the next
 * try wait longer, for the name and for the address that it came from, and few are checked at once. Nothing tells whether the
 * name or the password was wrong.
 */
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Token, User } from '@berth/shared/model/access.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { State, Tx } from '../state/state.ts';
import { checkPassword, hashPassword, passwordMatches } from './passwords.ts';
import { checkLifetime, putToken } from './tokens.ts';

const SESSION_MS = 12 * 3_600_000;
const FREE_TRIES = 5;
const LONGEST_WAIT_MS = 300_000;
const FORGET_MS = 3_600_000;
const MOST_KEPT = 10_000;
const AT_ONCE = 2;
const MOST_WAITING = 32;

interface Failures {
  readonly count: number;
  readonly untilMs: number;
  readonly atMs: number;
}

export class Logins {
  readonly #failures = new Map<string, Failures>();
  readonly #queue: (() => void)[] = [];
  #running = 0;

  constructor(
    private readonly state: State,
    private readonly clock: Pick<Clock, 'monotonic'>,
  ) {}

  /** @param peer address that the call came from. @param r.lifetimeMs of the token; 0: 12 hours. */
  async login(
    r: { readonly user: string; readonly password: string; readonly lifetimeMs: number },
    peer: string,
  ): Promise<{ readonly token: Token; readonly secret: string }> {
    const lifetimeMs = checkLifetime(r.lifetimeMs || SESSION_MS);
    const keys = [`user ${r.user.slice(0, 80)}`, `peer ${peer}`];
    for (const key of keys) this.#refuseSoon(key);
    // counted before it is known to be wrong, so that many at once are not many free tries
    for (const key of keys) this.#failed(key);
    const hash = this.state.tables.users.byName(r.user)?.passwordHash;
    if (!(await this.#slowly(() => passwordMatches(r.password, hash)))) throw wrong();
    return this.state.update((tx) => {
      const user = tx.users.byName(r.user);
      if (user === undefined || user.disabled || user.passwordHash !== hash) throw wrong();
      for (const key of keys) this.#failures.delete(key);
      endOld(tx, user);
      return putToken(tx, {
        user: user.name,
        role: 'admin',
        lifetimeMs,
        description: 'login by password',
        session: true,
      });
    });
  }

  /**
   * @param r.oldPassword of who changes its own; undefined: an administrator sets it, for a user who forgot it.
   * @param keep the token that goes on; all others that were made by a login end.
   */
  async setPassword(r: { user: string; password: string; oldPassword?: string }, by: string, keep = ''): Promise<void> {
    const before = this.state.tables.users.byName(r.user);
    if (before === undefined) throw notFound(`user ${r.user.slice(0, 80)} does not exist. See: berth user list`);
    checkPassword(r.password);
    if (r.oldPassword !== undefined) await this.#proveOld(before, r.oldPassword);
    const passwordHash = await this.#slowly(() => hashPassword(r.password));
    await this.state.update((tx) => {
      const user = tx.users.byName(r.user);
      if (user === undefined) throw notFound(`user ${r.user} has just been removed`);
      tx.users.put({ ...user, passwordHash, generation: user.generation + 1 });
      for (const t of tx.tokens.byUser(user.name)) if (t.session === true && t.id !== keep) tx.tokens.delete(t.id);
      const message = `${by} set the password of ${user.name}`;
      tx.event({
        ...{ type: 'user.password', severity: 'info', subjectKind: 'user', subject: user.name, message },
        jobId: undefined,
      });
    });
  }

  async #proveOld(user: User, password: string): Promise<void> {
    const key = `user ${user.name}`;
    this.#refuseSoon(key);
    this.#failed(key);
    if (user.passwordHash !== undefined && !(await this.#slowly(() => passwordMatches(password, user.passwordHash))))
      throw new ClusterError('PERMISSION_DENIED', 'the old password is not right');
    this.#failures.delete(key);
  }

  #refuseSoon(key: string): void {
    const waitMs = (this.#failures.get(key)?.untilMs ?? 0) - this.clock.monotonic();
    if (waitMs <= 0) return;
    throw tooOften(waitMs);
  }

  #failed(key: string): void {
    const nowMs = this.clock.monotonic();
    const known = this.#failures.get(key);
    const count = known && nowMs - known.atMs < FORGET_MS ? known.count + 1 : 1;
    const waitMs = count < FREE_TRIES ? 0 : Math.min(LONGEST_WAIT_MS, 1_000 * 2 ** (count - FREE_TRIES));
    this.#failures.delete(key);
    if (this.#failures.size >= MOST_KEPT) this.#failures.delete(this.#failures.keys().next().value ?? '');
    this.#failures.set(key, { count, untilMs: nowMs + waitMs, atMs: nowMs });
  }

  /** Few at once: each takes memory and a thread. */
  async #slowly<T>(work: () => Promise<T>): Promise<T> {
    if (this.#queue.length >= MOST_WAITING) throw tooOften(1_000);
    if (this.#running >= AT_ONCE) await new Promise<void>((go) => this.#queue.push(go));
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
      this.#queue.shift()?.();
    }
  }
}

/** Logins that are over leave nothing. */
function endOld(tx: Tx, user: User): void {
  for (const t of tx.tokens.byUser(user.name))
    if (t.session === true && t.expiresAtMs <= tx.nowMs) tx.tokens.delete(t.id);
}

const wrong = (): ClusterError => new ClusterError('UNAUTHENTICATED', 'user or password is not right');
const tooOften = (waitMs: number): ClusterError =>
  new ClusterError('RATE_LIMITED', `too many wrong passwords: try again in ${Math.ceil(waitMs / 1_000)} s`, {
    retryAfterMs: String(Math.ceil(waitMs)),
  });
