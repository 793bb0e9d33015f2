/**
 * What of this host's means a VM's definition may ask for, beyond what the hypervisor tells: devices, huge pages, ports,
 * kernels. Real one: drivers/linux/means.ts; simulated: everything is there.
 */
import type { Inventory } from '@berth/shared/model/inventory.ts';

export interface PagesSeen {
  readonly sizeBytes: number;
  readonly total: number;
  readonly free: number;
}

export interface Means {
  inventory(): Promise<Inventory>;
  hugePages(): Promise<readonly PagesSeen[]>;
  /** TCP ports that somebody listens on. */
  listeningPorts(): Promise<ReadonlySet<number>>;
  /** Undefined: a file that a guest may boot from. Otherwise what is wrong with it, as it would follow its path. */
  whyNotBootable(path: string): Promise<string | undefined>;
}
