/** libvirt's domain state and reason numbers → the words of the driver interface. Pure. */
import type { DomainPower, PowerReason } from '../hypervisor.ts';

export interface Power {
  readonly power: DomainPower;
  readonly reason: PowerReason;
}

type Reasons = Readonly<Record<number, PowerReason>>;

const RUNNING: Reasons = { 0: 'none', 1: 'booted', 2: 'migrated', 5: 'user', 9: 'crashed' };
const PAUSED: Reasons = { 0: 'none', 1: 'user', 5: 'io-error', 10: 'crashed' };
const STOPPING: Reasons = { 0: 'shutdown', 1: 'user' };
const STOPPED: Reasons = { 0: 'none', 1: 'shutdown', 2: 'destroyed', 3: 'crashed', 4: 'migrated', 6: 'failed' };

const TABLE: Readonly<Record<number, readonly [DomainPower, Reasons]>> = {
  1: ['running', RUNNING],
  2: ['running', RUNNING], // blocked on a resource: it runs, for our purposes
  3: ['paused', PAUSED],
  4: ['stopping', STOPPING],
  5: ['stopped', STOPPED],
  6: ['crashed', { 0: 'crashed', 1: 'crashed' }],
  7: ['suspended', { 0: 'none' }],
};

const PAUSED_STATE = 3;
const PAUSED_SHUTTING_DOWN = 8;
const STOPPED_STATE = 5;
/** libvirt calls a domain whose QEMU died shut off, and tells it from an orderly end only by the reason. */
const STOPPED_CRASHED = 3;

export function powerOf(state: number, reason: number): Power {
  if (state === PAUSED_STATE && reason === PAUSED_SHUTTING_DOWN) return { power: 'stopping', reason: 'shutdown' };
  if (state === STOPPED_STATE && reason === STOPPED_CRASHED) return { power: 'crashed', reason: 'crashed' };
  const row = TABLE[state];
  return row === undefined
    ? { power: 'unknown', reason: 'none' }
    : { power: row[0], reason: row[1][reason] ?? 'other' };
}

/** Whether a QEMU process stands behind the domain. */
export const isActive = (power: DomainPower): boolean =>
  power === 'running' || power === 'paused' || power === 'stopping' || power === 'suspended';
