/**
 * The Docker engine as the lab uses it: the connection, and the labels by which everything of a lab is found again.
 * testcontainers is loaded only when a lab is touched, because it is large.
 */
import { disableReaper } from './config.ts';

type Testcontainers = typeof import('testcontainers');
type RuntimeClient = Awaited<ReturnType<Testcontainers['getContainerRuntimeClient']>>;
export type Docker = RuntimeClient['container']['dockerode'];
export type Container = ReturnType<Docker['getContainer']>;

export const LAB_LABEL = 'berth.lab';
export const HOST_LABEL = 'berth.lab.host';
/** Where a host belongs in the network, so that this is known even while it is cut off. */
export const ADDRESS_LABEL = 'berth.lab.address';
export const NETWORK_LABEL = 'berth.lab.network';

export async function loadTestcontainers(): Promise<Testcontainers> {
  disableReaper();
  return import('testcontainers');
}

export async function docker(): Promise<Docker> {
  const { getContainerRuntimeClient } = await loadTestcontainers();
  return (await getContainerRuntimeClient()).container.dockerode;
}

/** Docker's filter for one lab, or for all labs. */
export function labFilter(label?: string): { label: string[] } {
  return { label: [label === undefined ? LAB_LABEL : `${LAB_LABEL}=${label}`] };
}

export function statusOf(error: unknown): number | undefined {
  return error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : undefined;
}

/** Runs `work`; an object that is gone, or already as wanted, is fine. */
export async function tolerate(statuses: readonly number[], work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!statuses.includes(statusOf(error) ?? 0)) throw error;
  }
}
