/** Identities that live in memory, from plain certificates; for tests and benches. */
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { HostIdentity } from '../enroll/host-identity.ts';
import type { StoredIdentity } from '../enroll/identity-store.ts';
import type { PeerIdentity } from '../peer/identity.ts';

/** A certificate with its key, and the CA that its peers' certificates come from. */
export interface PlainIdentity {
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

export interface PlainHost {
  readonly hostId: string;
  readonly installationId?: string;
  readonly control: PlainIdentity;
  readonly transfer?: PlainIdentity;
}

export function storedIdentity(h: PlainHost): StoredIdentity {
  const { control, transfer, hostId } = h;
  return {
    version: 2,
    hostId,
    hostName: hostId,
    installationId: h.installationId ?? 'installation-1',
    tokenId: '',
    control: { certPem: control.certPem, keyPem: control.keyPem },
    ...(transfer ? { transfer: { certPem: transfer.certPem, keyPem: transfer.keyPem } } : {}),
    pending: {},
    trust: { control: [control.caPem], transfer: transfer ? [transfer.caPem] : [], revoked: [] },
  };
}

/** Nothing is kept on disk. */
export const memoryIdentity = (h: PlainHost): HostIdentity =>
  new HostIdentity(storedIdentity(h), { now: () => systemClock.now(), save: async () => undefined });

/** What a host proves to other hosts, for ever the same. */
export const plainPeer = (p: PlainIdentity & { readonly hostId: string }): PeerIdentity =>
  memoryIdentity({ hostId: p.hostId, control: p, transfer: p });
