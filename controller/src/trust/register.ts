/**
 * The record of the certificates that hosts were given: what is in service, what was replaced, what is revoked. Functions
 * over a transaction; nothing here signs or talks to hosts.
 */
import type { Certificate } from '@berth/shared/model/certificate.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { readCertificate } from '@berth/shared/trust/certificate.ts';
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import type { Tables, Tx } from '../state/state.ts';
import type { CaPurpose } from './authority.ts';

/** A revoked certificate is told of for this long after it expired, by our clock: clocks may be wrong. */
const REVOKED_KEPT_MS = 400 * 86_400_000;
/** What an agent takes; see certificate.proto. */
export const MAX_REVOKED = 20_000;

export interface Signed {
  readonly host: Pick<Host, 'id' | 'name'>;
  readonly purpose: CaPurpose;
  readonly certificatePem: string;
  readonly caPem: string;
  readonly state: 'issued' | 'active';
}

/** Notes a certificate; what is in service for the same purpose is replaced when this one is active. */
export function noteSigned(tx: Tx, s: Signed): Certificate {
  const { serial, notBeforeMs, notAfterMs } = readCertificate(s.certificatePem);
  const made: Certificate = {
    serial,
    purpose: s.purpose,
    hostId: s.host.id,
    subject: s.host.name,
    issuerPin: publicKeyPin(s.caPem),
    notBeforeMs,
    notAfterMs,
    state: s.state,
    revokedAtMs: undefined,
    why: undefined,
  };
  forgetOld(tx, s.host.id);
  tx.certificates.put(made);
  if (s.state === 'active') replaceOthers(tx, made);
  return made;
}

/** It was seen in service. A certificate that is not on record (a database older than it) is noted. */
export function noteActive(tx: Tx, s: Signed): void {
  const { serial } = readCertificate(s.certificatePem);
  const known = tx.certificates.get(serial);
  if (known === undefined) return void noteSigned(tx, { ...s, state: 'active' });
  if (known.state === 'active' || known.state === 'revoked') return;
  const active: Certificate = { ...known, state: 'active' };
  tx.certificates.put(active);
  replaceOthers(tx, active);
}

function replaceOthers(tx: Tx, active: Certificate): void {
  for (const c of tx.certificates.byHost(active.hostId as Host['id'])) {
    const other = c.serial !== active.serial && c.purpose === active.purpose;
    if (other && (c.state === 'active' || c.state === 'issued')) tx.certificates.put({ ...c, state: 'replaced' });
  }
}

function forgetOld(tx: Tx, hostId: Host['id']): void {
  for (const c of tx.certificates.byHost(hostId)) {
    const keepMs = c.state === 'revoked' ? REVOKED_KEPT_MS : 0;
    if (c.state !== 'active' && c.notAfterMs + keepMs < tx.nowMs) tx.certificates.delete(c.serial);
  }
}

/** What is still valid and not revoked yet. @returns how many were revoked. */
export function revokeAllOf(tx: Tx, hostId: Host['id'], why: string): number {
  const valid = tx.certificates.byHost(hostId).filter((c) => c.state !== 'revoked');
  for (const c of valid) revoke(tx, c, why);
  return valid.length;
}

export function revoke(tx: Tx, c: Certificate, why: string): void {
  tx.certificates.put({ ...c, state: 'revoked', revokedAtMs: tx.nowMs, why });
}

/** Serials that hosts must refuse; those that live longest when there are more than an agent takes. */
export function revokedSerials(tables: Tables): readonly string[] {
  const all = tables.certificates.revoked();
  if (all.length <= MAX_REVOKED) return all.map((c) => c.serial);
  const longest = [...all].sort((a, b) => b.notAfterMs - a.notAfterMs);
  return longest.slice(0, MAX_REVOKED).map((c) => c.serial);
}
