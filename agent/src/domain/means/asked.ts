/** What is looked at when a definition is held against its host. Shapes only. */
import type { Inventory } from '@berth/shared/model/inventory.ts';
import type { MachineAbilities } from '../../drivers/hypervisor.ts';
import type { PagesSeen } from '../../drivers/means.ts';
import type { DomainSpec } from '../spec.ts';

export interface Host {
  readonly hostName: string;
  readonly domainType: 'kvm' | 'qemu';
  readonly libvirtVersion: string;
  readonly inventory: Inventory;
  /** Undefined: there is no such machine here. */
  readonly abilities: MachineAbilities | undefined;
  readonly hugePages: readonly PagesSeen[];
}

/** Another VM that runs here, and what it holds alone. */
export interface Neighbour {
  readonly name: string;
  readonly pci: readonly string[];
  readonly ports: readonly number[];
  readonly files: readonly string[];
}

export type Asked = Pick<DomainSpec, 'name' | 'vcpus' | 'memoryBytes' | 'hardware'>;
