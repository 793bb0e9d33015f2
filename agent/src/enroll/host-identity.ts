/**
 * What this host proves and whom it trusts, while the agent runs: certificates are switched under open connections, and
 * each switch is on disk before it counts. Servers and dialers ask for the present pair at each new connection, or follow
 * along. Keys are made here and leave this process only for their file.
 */
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { readCertificate, serialOf, splitPem, trustDigest } from '@berth/shared/trust/certificate.ts';
import { checkPair, type Purpose } from './check.ts';
import type { Pair, StoredIdentity } from './identity-store.ts';

export interface TrustLists {
  readonly control: readonly string[];
  readonly transfer: readonly string[];
  readonly revoked: readonly string[];
}

export interface HostIdentityDeps {
  readonly now: () => number;
  /** On disk when it resolves. */
  readonly save: (stored: StoredIdentity) => Promise<void>;
}

const MAX_CAS = 8;
const MAX_REVOKED = 20_000;

export class HostIdentity {
  private readonly listeners = new Set<() => void>();
  private revokedSet: ReadonlySet<string>;
  private digest: string | undefined;
  /** Changes come one at a time. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    private stored: StoredIdentity,
    private readonly deps: HostIdentityDeps,
  ) {
    this.revokedSet = new Set(stored.trust.revoked);
  }

  get hostId(): string {
    return this.stored.hostId;
  }
  get hostName(): string {
    return this.stored.hostName;
  }
  get installationId(): string {
    return this.stored.installationId;
  }
  get trust(): TrustLists {
    return this.stored.trust;
  }
  get trustDigest(): string {
    return (this.digest ??= digestOf(this.stored.trust));
  }
  /** Undefined: none for this purpose yet. */
  pair(purpose: Purpose): Pair | undefined {
    return this.stored[purpose];
  }
  get unconfirmed(): boolean {
    return this.stored.formerControl !== undefined;
  }
  isRevoked(serial: string): boolean {
    return this.revokedSet.has(serialOf(serial));
  }

  /** Called after each change of certificates or trust. @returns ends it. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** A request for a new key; the same key for the same attempt. */
  prepare(purpose: Purpose, attempt: string): Promise<string> {
    return this.change(async () => {
      // seldom needed, and large
      const { certificateRequest, newKeyPem } = await import('@berth/shared/trust/key.ts');
      const known = this.stored.pending[purpose];
      if (known?.attempt === attempt) return certificateRequest(known.keyPem);
      const keyPem = await newKeyPem();
      const pending = { ...this.stored.pending, [purpose]: { attempt, keyPem } };
      await this.store({ ...this.stored, pending });
      return certificateRequest(keyPem);
    });
  }

  /** @throws INVALID_ARGUMENT, with nothing changed, when it can't serve here. */
  install(purpose: Purpose, certPem: string): Promise<void> {
    return this.change(async () => {
      const { stored } = this;
      if (stored[purpose] && sameCertificate(stored[purpose].certPem, certPem)) return;
      const key = stored.pending[purpose];
      if (key === undefined)
        throw invalidArgument(`no key is prepared for a ${purpose} certificate: prepare one first`);
      const pair = { keyPem: key.keyPem, certPem };
      const cas = stored.trust[purpose];
      checkPair(pair, { purpose, hostId: stored.hostId, cas, nowMs: this.deps.now() });
      const pending = { ...stored.pending, [purpose]: undefined };
      // an unconfirmed pair is replaced: the one before it is known to have worked
      const former = purpose === 'control' ? { formerControl: stored.formerControl ?? stored.control } : {};
      await this.store({ ...stored, ...former, [purpose]: pair, pending });
    });
  }

  confirm(purpose: Purpose, serial: string): Promise<void> {
    return this.change(async () => {
      const pair = this.stored[purpose];
      if (pair === undefined || readCertificate(pair.certPem).serial !== serialOf(serial))
        throw invalidArgument(`the ${purpose} certificate in service is another one than ${serial.slice(0, 60)}`);
      if (purpose !== 'control' || this.stored.formerControl === undefined) return;
      await this.store({ ...this.stored, formerControl: undefined });
    });
  }

  /** The lists replace those before. */
  async setTrust(lists: TrustLists): Promise<void> {
    const trust = {
      control: checkCas('control', lists.control),
      transfer: checkCas('transfer', lists.transfer),
      revoked: lists.revoked.map(serialOf),
    };
    if (trust.control.length === 0) throw invalidArgument('a host must trust at least one CA for its controller');
    if (trust.revoked.length > MAX_REVOKED)
      throw invalidArgument(
        `${trust.revoked.length} revoked certificates are too many; at most ${MAX_REVOKED} are kept`,
      );
    return this.change(async () => {
      if (digestOf(trust) === this.trustDigest) return;
      await this.store({ ...this.stored, trust });
    });
  }

  /** Another process has enrolled this host again. */
  adopt(stored: StoredIdentity): void {
    if (stored.hostId !== this.hostId || stored.installationId !== this.installationId)
      throw new ClusterError(
        'BAD_STATE',
        `this host was enrolled as another one (${stored.hostName}, ${stored.hostId}): restart the agent`,
      );
    this.take(stored);
  }

  private change<T>(fn: () => Promise<T>): Promise<T> {
    const next = this.turn.then(fn, fn);
    this.turn = next.catch(() => undefined);
    return next;
  }

  private async store(next: StoredIdentity): Promise<void> {
    await this.deps.save(next);
    this.take(next);
  }

  private take(next: StoredIdentity): void {
    this.stored = next;
    this.revokedSet = new Set(next.trust.revoked);
    this.digest = undefined;
    for (const listener of this.listeners) listener();
  }
}

const digestOf = (t: TrustLists): string =>
  trustDigest({ control: t.control, transfer: t.transfer, revoked: t.revoked });

function sameCertificate(a: string, b: string): boolean {
  return a.replace(/\s/g, '') === b.replace(/\s/g, '');
}

function checkCas(purpose: Purpose, given: readonly string[]): string[] {
  const cas = given.flatMap(splitPem);
  if (cas.length > MAX_CAS || cas.length < given.length)
    throw invalidArgument(`the list of ${purpose} CAs must hold at most ${MAX_CAS} certificates and nothing else`);
  for (const pem of cas)
    try {
      readCertificate(pem);
    } catch (e) {
      throw invalidArgument(`a ${purpose} CA cannot be read`, {}, e);
    }
  return cas;
}
