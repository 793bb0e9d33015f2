/** What a machine is made of, as its agent reads it when asked. Observation only; plain data, no I/O. */

export interface CpuInventory {
  readonly model: string;
  readonly sockets: number;
  /** Of all sockets. */
  readonly cores: number;
  readonly threads: number;
}

export interface NumaNode {
  readonly id: number;
  /** As the kernel writes it: `0-7,16-23`. */
  readonly cpus: string;
  readonly memoryBytes: number;
  readonly freeBytes: number;
  /** To each node, in the order of nodes; 10 is itself. */
  readonly distances: readonly number[];
}

export interface NicInventory {
  readonly name: string;
  readonly mac: string;
  /** physical, bond, vlan, virtual … */
  readonly kind: string;
  readonly link: 'up' | 'down' | 'unknown';
  /** 0: not known, as where there is no link. */
  readonly speedMbps: number;
  readonly driver: string;
  readonly mtu: number;
  /** Of the device behind it; empty for none. */
  readonly pciAddress: string;
}

export interface DiskInventory {
  readonly name: string;
  readonly sizeBytes: number;
  readonly model: string;
  readonly serial: string;
  /** nvme, virtio, ata, usb, mmc, scsi. */
  readonly bus: string;
  readonly rotational: boolean;
  readonly removable: boolean;
  /** Of its I/O; empty where there is none to choose. */
  readonly scheduler: string;
}

export interface PciInventory {
  /** 0000:3b:00.0 */
  readonly address: string;
  /** Six hexadecimal digits: class, subclass, interface. */
  readonly classId: string;
  readonly className: string;
  readonly vendorId: string;
  readonly deviceId: string;
  /** Empty where no list of names is installed, or it lacks them. */
  readonly vendor: string;
  readonly device: string;
  readonly driver: string;
  /** Undefined: no IOMMU. */
  readonly iommuGroup: number | undefined;
  /** Undefined: not known, as on machines with one node. */
  readonly numaNode: number | undefined;
  /** Address of the device of which this is a virtual function; empty for others. */
  readonly physicalFunction: string;
  /** How many virtual functions it could have. */
  readonly virtualFunctions: number;
}

export interface UsbInventory {
  readonly bus: number;
  readonly device: number;
  readonly vendorId: string;
  readonly productId: string;
  readonly vendor: string;
  readonly product: string;
  readonly serial: string;
  readonly speedMbps: number;
}

export interface Inventory {
  readonly cpu: CpuInventory;
  readonly numa: readonly NumaNode[];
  readonly nics: readonly NicInventory[];
  readonly disks: readonly DiskInventory[];
  readonly pci: readonly PciInventory[];
  readonly usb: readonly UsbInventory[];
}

/** As many of each kind are told; no machine that Berth is made for has more. */
export const MOST_OF_A_KIND = { numa: 256, nics: 512, disks: 1024, pci: 2048, usb: 512 } as const;
