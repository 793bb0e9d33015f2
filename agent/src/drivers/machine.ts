/** The machine driver: what the host is, how busy it is, and its bridges. Real one: drivers/linux; simulated: drivers/sim. */
import type { Bridge, HostCheck, LargePages } from '@berth/shared/model/host.ts';
import type { Tuning, TuningSeen } from '@berth/shared/model/tuning.ts';
import type { Inventory } from '@berth/shared/model/inventory.ts';

export interface MachineFacts {
  readonly hostname: string;
  readonly os: string;
  readonly kernel: string;
  readonly cpuModel: string;
  readonly cpuThreads: number;
  readonly memoryBytes: number;
  readonly bootId: string;
}

export interface MachineLoad {
  /** Share of all CPU time since the last call, 0 to 1. */
  readonly cpuUsed: number;
  readonly load1: number;
  readonly memoryUsedBytes: number;
  /** Absent from a driver that has no more. */
  readonly more?: MachineCounters;
}

/** Counters since the machine's boot, and what else its kernel says of its load. */
export interface MachineCounters {
  /** When they were read, on the monotonic clock. */
  readonly atMs: number;
  /** Processors (threads) that are on. */
  readonly cpus: number;
  /** Shares of all CPU time since the last call, 0 to 1. */
  readonly cpuIowait: number;
  readonly cpuSteal: number;
  /** Seconds of all CPUs by what they were spent on (`user`, `idle`, `steal` …). Absent: not known. */
  readonly cpuSeconds?: Readonly<Record<string, number>>;
  readonly load5: number;
  readonly load15: number;
  readonly memoryBytes: number;
  readonly swapBytes: number;
  readonly swapUsedBytes: number;
  /** Of whole disks. */
  readonly diskReadBytes: number;
  readonly diskWriteBytes: number;
  readonly diskReads: number;
  readonly diskWrites: number;
  /** Without loopback and what guests are plugged into. */
  readonly nics: readonly NicCounters[];
}

export interface NicCounters {
  readonly name: string;
  readonly kind: 'physical' | 'bridge' | 'bond' | 'vlan' | 'virtual';
  readonly receiveBytes: number;
  readonly transmitBytes: number;
  readonly receivePackets: number;
  readonly transmitPackets: number;
  readonly errors: number;
  readonly drops: number;
}

export interface Machine {
  facts(): Promise<MachineFacts>;
  /**
   * vmx/svm, kvm, nested paging, cgroups, clock, libvirt, tools: in words, with what to do.
   * @param options.mayBeOld what a process must be started for may be of the last ten minutes, as long as it was well
   */
  checks(options?: { readonly mayBeOld?: boolean }): Promise<readonly HostCheck[]>;
  /** Whether this host's own name and those of others are known here. Takes seconds where name servers are silent. */
  nameChecks(others: readonly string[]): Promise<readonly HostCheck[]>;
  /** Memory that is kept for large pages. */
  largePages(): Promise<readonly LargePages[]>;
  readonly tuning: TuningDriver;
  /** What it is made of, read anew. */
  inventory(): Promise<Inventory>;
  load(): Promise<MachineLoad>;
}

/** Settings of the machine's kernel. */
export interface TuningDriver {
  read(): Promise<readonly TuningSeen[]>;
  /**
   * Brings settings to these values; all or none. BAD_STATE where memory can't be had or the kernel refuses, INVALID_ARGUMENT for
   * what the machine has not.
   */
  ensure(wanted: Tuning): Promise<void>;
}

export interface Bridges {
  list(): Promise<readonly Bridge[]>;
  /** Makes it, up, with these CIDR addresses. Ours already: brings it to this. Somebody else's: BAD_STATE. */
  ensure(name: string, addresses: readonly string[]): Promise<void>;
  /** Absent is fine; with ports: IN_USE; not ours: BAD_STATE. */
  remove(name: string): Promise<void>;
  /** Names of all network interfaces. */
  links(): Promise<readonly string[]>;
  /** Networks that this host has addresses in, or routes to but for its default one. */
  taken(): Promise<readonly import('../network/overlaps.ts').Taken[]>;
}

export interface Drivers {
  readonly hypervisor: import('./hypervisor.ts').Hypervisor;
  readonly means: import('./means.ts').Means;
  readonly disks: import('./volume-work.ts').AllDisks;
  readonly guestDisks: import('./guest-disks.ts').GuestDisks;
  readonly machine: Machine;
  readonly bridges: Bridges;
  readonly networks: import('./virtual-networks.ts').VirtualNetworks;
  readonly logs: import('./host-logs.ts').HostLogs;
  readonly storage: import('./storage.ts').Storage;
}
