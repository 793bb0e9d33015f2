/** What power means to snapshots. Pure. */
import type { DomainSeen } from '../drivers/hypervisor.ts';

export const isOff = ({ power }: Pick<DomainSeen, 'power'>): boolean => power === 'stopped' || power === 'crashed';

/** Paused for these, a guest goes on when what it waits for is mended. */
export const STOPPED_FOR_OTHERS: ReadonlySet<DomainSeen['reason']> = new Set(['io-error', 'no-space']);
