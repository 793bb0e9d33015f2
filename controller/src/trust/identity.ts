/**
 * What the controller proves, whom it trusts and what it signs with. Made once by init.ts, loaded at each start, renewed
 * while it runs; who uses it follows along. The rotation of a CA has its steps here; when each is due is a job's.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import { readCertificate } from '@berth/shared/trust/certificate.ts';
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import {
  DEFAULT_LIFETIMES,
  newAuthority,
  signClient,
  signController,
  hasNames,
  signHost,
  type Authority,
  type CaPurpose,
  type KeyAndCertificate,
  type Lifetimes,
} from './authority.ts';
import { loadLegacyCa, loadTrust, saveTrust, trustPaths, type StoredTrust } from './store.ts';

export interface Identity {
  readonly installationId: string;
  /** host:port under which the controller was told it can be reached; the first goes into tokens. */
  readonly addresses: readonly string[];
  /** The CA that signed our own certificate. */
  readonly caPem: string;
  /** SHA-256 (hex) of that CA's public key. */
  readonly caPin: string;
  /** All that are trusted for a purpose; the active one first. */
  readonly cas: Readonly<Record<CaPurpose, readonly string[]>>;
  /** Those that client certificates may come from. */
  readonly callerCas: readonly string[];
  /** The CA that signs for hosts now. */
  readonly issuing: Readonly<Record<CaPurpose, string>>;
  /** Leaf first, then the CA: peers that only know the pin need the CA in the handshake. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly authority: Authority;
  /** Called after each change. @returns ends it. */
  subscribe(listener: () => void): () => void;
}

const Installation = z.strictObject({ installationId: z.string().min(1), addresses: z.array(z.string()).min(1) });
export type Installation = z.infer<typeof Installation>;

export const paths = (dataDir: string) => ({
  /** Written last by init: with it the installation is whole. */
  marker: join(dataDir, 'installation.json'),
  database: join(dataDir, 'berth.db'),
  auditHead: join(dataDir, 'audit-head'),
  lastSeen: join(dataDir, 'last-seen.json'),
  runs: join(dataDir, 'runs.json'),
  adminToken: join(dataDir, 'admin-token'),
  ...trustPaths(dataDir),
});

export class Trust implements Identity, Authority {
  private readonly listeners = new Set<() => void>();

  constructor(
    private readonly installation: Installation,
    private stored: StoredTrust,
    private readonly lifetimes: Lifetimes,
    private readonly save: (stored: StoredTrust) => void,
  ) {}

  readonly authority: Authority = this;

  get installationId(): string {
    return this.installation.installationId;
  }
  get addresses(): readonly string[] {
    return this.installation.addresses;
  }
  get caPem(): string {
    return this.stored.control.active.certificatePem;
  }
  get caPin(): string {
    return publicKeyPin(this.caPem);
  }
  get cas(): Readonly<Record<CaPurpose, readonly string[]>> {
    const { control, transfer } = this.stored;
    const all = (set: StoredTrust['control']) => [set.active, set.next].flatMap((c) => c?.certificatePem ?? []);
    return { control: all(control), transfer: all(transfer) };
  }
  /** Replaced ones too: of what callers show, only what is on record counts, whoever signed it. */
  get callerCas(): readonly string[] {
    return [...this.cas.control, ...(this.stored.retired ?? [])];
  }
  get issuing(): Readonly<Record<CaPurpose, string>> {
    return { control: this.issuer('control').certificatePem, transfer: this.issuer('transfer').certificatePem };
  }
  get chainPem(): string {
    return this.stored.controller.certificatePem + this.caPem;
  }
  get certificatePem(): string {
    return this.stored.controller.certificatePem;
  }
  get keyPem(): string {
    return this.stored.controller.keyPem;
  }
  get rotation(): StoredTrust['rotation'] {
    return this.stored.rotation;
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  signHost: Authority['signHost'] = (purpose, request, id, nowMs) =>
    signHost(this.issuer(purpose), purpose, request, { id, nowMs, lifetimeMs: this.lifetimes.host });

  signClient: Authority['signClient'] = async (request, client, nowMs) => {
    const ca = this.issuer('control');
    const life = { nowMs, lifetimeMs: this.lifetimes.client };
    return { certificatePem: await signClient(ca, request, client, life), caPem: ca.certificatePem };
  };

  /** When the controller's own certificate is due. */
  get renewAtMs(): number {
    return readCertificate(this.certificatePem).renewAtMs;
  }

  /** A new key and certificate for the controller itself. */
  async renewOwn(nowMs: number): Promise<void> {
    const life = { nowMs, lifetimeMs: this.lifetimes.controller };
    const controller = await signController(this.stored.control.active, this.installation, life);
    this.put({ ...this.stored, controller });
  }

  /** Whether its own certificate can't serve, or is due. One from the future was made while the clock was wrong. */
  ownIsDue(nowMs: number): boolean {
    const { notBeforeMs, renewAtMs } = readCertificate(this.certificatePem);
    const own = new X509Certificate(this.certificatePem);
    const fits = own.checkPrivateKey(createPrivateKey(this.keyPem));
    const signed = own.verify(new X509Certificate(this.caPem).publicKey);
    return nowMs >= renewAtMs || nowMs < notBeforeMs || !fits || !signed;
  }

  /** New CAs beside the active ones; trusted from now on, and signing nothing yet. Twice with one id is once. */
  async beginRotation(id: string, nowMs: number): Promise<void> {
    const { rotation, finishedRotation } = this.stored;
    if (rotation?.id === id || finishedRotation === id) return;
    if (rotation) throw badState(`another rotation of the CAs is under way (${rotation.id})`);
    const make = (purpose: CaPurpose) => newAuthority(purpose, this.installationId, nowMs, this.lifetimes.ca);
    const [control, transfer] = [await make('control'), await make('transfer')];
    this.put({
      ...this.stored,
      control: { active: this.stored.control.active, next: control },
      transfer: { active: this.stored.transfer.active, next: transfer },
      rotation: { id, issuing: 'active' },
    });
  }

  /** Only before `issueFromNext`. What was not begun, or is taken back already, is fine. */
  abandonRotation(id: string): void {
    const { rotation, control, transfer, ...rest } = this.stored;
    if (rotation?.id !== id) return;
    this.put({ ...rest, control: { active: control.active }, transfer: { active: transfer.active } });
  }

  issueFromNext(id: string): void {
    const { rotation } = this.stored;
    if (rotation?.id === id && rotation.issuing === 'active')
      this.put({ ...this.stored, rotation: { ...rotation, issuing: 'next' } });
  }

  /** The rotation under way shall wait for nobody any longer. @returns its id; undefined when there is none. */
  hurryRotation(): string | undefined {
    const { rotation } = this.stored;
    if (rotation && rotation.hurried !== true) this.put({ ...this.stored, rotation: { ...rotation, hurried: true } });
    return rotation?.id;
  }

  /** The new CAs take the place of the old ones, whose keys are gone then. */
  async finishRotation(id: string, nowMs: number): Promise<void> {
    const { control, transfer, rotation, ...rest } = this.stored;
    if (rotation?.id !== id || !control.next || !transfer.next) return;
    const life = { nowMs, lifetimeMs: this.lifetimes.controller };
    const controller = await signController(control.next, this.installation, life);
    const cas = { control: { active: control.next }, transfer: { active: transfer.next } };
    const retired = [control.active.certificatePem, ...(rest.retired ?? [])].filter(
      (pem) => readCertificate(pem).notAfterMs > nowMs,
    );
    this.put({ ...rest, ...cas, controller, retired, finishedRotation: id });
  }

  /** A CA is at two thirds of its life, and no rotation is under way. */
  caIsDue(nowMs: number): boolean {
    const { rotation, control, transfer } = this.stored;
    const due = (pem: string): boolean => nowMs >= readCertificate(pem).renewAtMs;
    return rotation === undefined && (due(control.active.certificatePem) || due(transfer.active.certificatePem));
  }

  private issuer(purpose: CaPurpose): KeyAndCertificate {
    const set = this.stored[purpose];
    return (this.stored.rotation?.issuing === 'next' ? set.next : undefined) ?? set.active;
  }

  private put(next: StoredTrust): void {
    this.save(next);
    this.stored = next;
    for (const listener of this.listeners) listener();
  }
}

/** New CAs and a certificate for the controller, not on disk yet. */
export async function newTrust(i: Installation, nowMs: number, lifetimes: Lifetimes): Promise<StoredTrust> {
  const active = await newAuthority('control', i.installationId, nowMs, lifetimes.ca);
  return completeTrust(active, i, nowMs, lifetimes);
}

async function completeTrust(active: KeyAndCertificate, i: Installation, nowMs: number, lifetimes: Lifetimes) {
  const transfer = await newAuthority('transfer', i.installationId, nowMs, lifetimes.ca);
  const controller = await signController(active, i, { nowMs, lifetimeMs: lifetimes.controller });
  return { version: 1 as const, control: { active }, transfer: { active: transfer }, controller };
}

/** BAD_STATE, with what to do, when the directory holds no installation. */
export async function loadIdentity(dataDir: string, nowMs: number, lifetimes = DEFAULT_LIFETIMES): Promise<Trust> {
  const installation = readInstallation(dataDir);
  let stored = loadTrust(dataDir);
  if (stored === undefined) {
    stored = await completeTrust(loadLegacyCa(dataDir), installation, nowMs, lifetimes);
    saveTrust(dataDir, stored);
  }
  const trust = new Trust(installation, stored, lifetimes, (next) => saveTrust(dataDir, next));
  const own = new X509Certificate(trust.certificatePem);
  if (trust.ownIsDue(nowMs) || !hasNames(own, installation.addresses)) await trust.renewOwn(nowMs);
  return trust;
}

export function readInstallation(dataDir: string): Installation {
  let text: string;
  try {
    text = readFileSync(paths(dataDir).marker, 'utf8');
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
    throw badState(`${dataDir} holds no installation. Make one: berth-controller init --data-dir ${dataDir}`);
  }
  try {
    return Installation.parse(JSON.parse(text));
  } catch (e) {
    throw badState(`${paths(dataDir).marker} is damaged: put it back from a backup`, {}, e);
  }
}
