/**
 * The hypervisor driver: what the agent needs from libvirt, and what the simulated host must offer as well. Small on
 * purpose; domain XML is built and read by agent/src/domain, not here. Errors are ClusterErrors: NOT_FOUND,
 * HYPERVISOR_UNAVAILABLE (connection lost or deadline passed: the outcome is unknown), INVALID_ARGUMENT (XML refused),
 * BAD_STATE, INTERNAL with libvirt's own words.
 */
import type { Duplex, Readable } from 'node:stream';
import type { Cpus } from './cpus.ts';
import type { DeviceVerbs } from './device-verbs.ts';
import type { DiskCopies } from './disk-copies.ts';
import type { GuestAgents } from './guest-agents.ts';
import type { SnapshotVerbs } from './snapshots.ts';

export type DomainPower = 'running' | 'paused' | 'stopping' | 'stopped' | 'crashed' | 'suspended' | 'unknown';

/** Why a domain stopped or paused, as far as libvirt tells. `shutdown`: the guest or an operator ended it in order. */
export type PowerReason =
  | 'none'
  | 'booted'
  | 'shutdown'
  | 'destroyed'
  | 'crashed'
  | 'migrated'
  | 'failed'
  | 'saved'
  | 'io-error'
  /** Paused, because a disk could not grow: it goes on where it was once there is room. */
  | 'no-space'
  | 'user'
  | 'other';

export interface DomainSeen {
  readonly uuid: string;
  readonly name: string;
  readonly power: DomainPower;
  readonly reason: PowerReason;
  readonly persistent: boolean;
  /**
   * Our element in `<metadata>`, with its own tag; undefined for a foreign domain. libvirt gives it back without prefix
   * and namespace, so read it by local names. While `power` is `unknown`, this may be missing or old.
   */
  readonly metadataXml: string | undefined;
  readonly memoryBytes: number;
  readonly vcpus: number;
}

export interface DomainStats {
  readonly uuid: string;
  /** Nanoseconds of CPU time since the domain started. */
  readonly cpuTimeNs: bigint;
  readonly memoryUsedBytes: number | undefined;
  readonly blockReadBytes: bigint;
  readonly blockWriteBytes: bigint;
  readonly netReceiveBytes: bigint;
  readonly netTransmitBytes: bigint;
  /** Absent from a driver that has no more. */
  readonly more?: DomainCounters;
}

/** Counters since the domain started, over all its devices, and what its balloon says. */
export interface DomainCounters {
  /** When they were read, on the monotonic clock. */
  readonly atMs: number;
  readonly blockReads: number;
  readonly blockWrites: number;
  readonly blockFlushes: number;
  readonly blockReadNs: number;
  readonly blockWriteNs: number;
  readonly blockFlushNs: number;
  readonly netReceivePackets: number;
  readonly netTransmitPackets: number;
  /** Errors and drops, both ways. */
  readonly netErrors: number;
  /** What the guest was given at last; 0: not known, as the two below. */
  readonly balloonBytes: number;
  /** What its kernel calls total and available. */
  readonly guestTotalBytes: number;
  readonly guestUsableBytes: number;
  /** Of the CPU time, what QEMU and the guest spent in user mode and in the host's kernel. */
  readonly cpuUserNs?: number;
  readonly cpuSystemNs?: number;
  /** How long vCPUs were ready to run and had to wait for a processor of the host; only where it was asked for. */
  readonly vcpuDelayNs?: number;
  /** The same device by device. Absent from a driver that adds up only. */
  readonly disks?: readonly DomainDisk[];
  readonly nics?: readonly DomainNic[];
}

/** Counters of one disk since the domain started, and its size now. */
export interface DomainDisk {
  /** vda */
  readonly target: string;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly readNs: number;
  readonly writeNs: number;
  readonly flushNs: number;
  /** As the guest sees it; 0: not known. */
  readonly capacityBytes: number;
  readonly allocationBytes: number;
}

/** Counters of one network card since the domain started, as the guest sees the directions. */
export interface DomainNic {
  /** Of the device on the host: vnet3 */
  readonly name: string;
  readonly receiveBytes: number;
  readonly transmitBytes: number;
  readonly receivePackets: number;
  readonly transmitPackets: number;
  readonly errors: number;
  readonly drops: number;
}

export interface HypervisorInfo {
  readonly libvirtVersion: string;
  readonly qemuVersion: string;
  /** Domain types that libvirt offers here, `kvm` first if present. */
  readonly domainTypes: readonly string[];
  readonly emulatorPath: string;
  readonly cpuModel: string;
}

/** What a machine of a type can have on this host. */
export interface MachineAbilities {
  /** bios, efi. */
  readonly firmwares: readonly string[];
  /** Firmware for Secure Boot is there. */
  readonly secureBoot: boolean;
  /** emulator (swtpm), passthrough. */
  readonly tpms: readonly string[];
  readonly cpuModels: readonly string[];
  /** vnc, spice. */
  readonly graphics: readonly string[];
  readonly videos: readonly string[];
}

export type HypervisorEvent =
  | { readonly type: 'connected' }
  /** Until `connected` comes again, what `list` said last is only "last seen". */
  | { readonly type: 'disconnected'; readonly why: string }
  | { readonly type: 'domain'; readonly uuid: string; readonly seen: DomainSeen | undefined };

export type DisplayKind = 'vnc' | 'spice';
export type Progress = (doneBytes: number, totalBytes: number) => void;

/** A disk of a guest, and the qcow2 file of its size that its copy goes to. */
export interface BackupTarget {
  readonly target: string;
  readonly path: string;
}

export interface SilentDomain {
  readonly uuid: string;
  readonly silentMs: number;
}

export interface Hypervisor {
  /** Throws HYPERVISOR_UNAVAILABLE while not connected. */
  info(): Promise<HypervisorInfo>;
  /** INVALID_ARGUMENT: no such machine here. @param domainType kvm or qemu */
  machineAbilities(machine: string, domainType: string): Promise<MachineAbilities>;
  /** All domains, foreign ones too. Answers from a cache that events keep fresh while a domain is being started. */
  list(): Promise<readonly DomainSeen[]>;
  /** Creates or redefines a persistent domain. Twice is once. */
  define(xml: string): Promise<DomainSeen>;
  /** Removes the definition with its NVRAM, managed save and snapshot metadata. Absent is fine. The domain must be stopped. */
  undefine(uuid: string): Promise<void>;
  /** Running already is fine. Returns when QEMU runs. Of a saved domain: fails, and keeps all, when what was saved is damaged. */
  start(uuid: string): Promise<void>;
  /** Asks the guest (ACPI). Returns at once; stopped already is fine. */
  shutdown(uuid: string): Promise<void>;
  /** Pulls the plug. Stopped or absent is fine. */
  destroy(uuid: string): Promise<void>;
  /** Asks the guest (ACPI) to shut down and boot again, in the same QEMU. Returns at once. BAD_STATE unless it runs. */
  reboot(uuid: string): Promise<void>;
  /** The reset button. Returns when it was pressed; the same QEMU goes on. BAD_STATE unless there is one. */
  reset(uuid: string): Promise<void>;
  /** Stops the guest's CPUs. Paused already is fine; BAD_STATE when it is off or sleeps. */
  suspend(uuid: string): Promise<void>;
  /** Lets the CPUs go on, and wakes a guest that sleeps. Running already is fine; BAD_STATE when it is off. */
  resume(uuid: string): Promise<void>;
  /**
   * Writes its memory to a file and ends its QEMU; `start` goes on from there. Stopped with reason `saved` when it returns.
   * Aborting the signal ends it, and the guest runs on. RESOURCE_BUSY while another save of it runs; BAD_STATE when it is off.
   */
  save(uuid: string, signal: AbortSignal, progress?: Progress): Promise<void>;
  /** Removes what `save` wrote. None is fine. */
  discardSaved(uuid: string): Promise<void>;
  /**
   * Writes what disks hold at one moment to files, while the guest goes on. `begun` is called when that moment is over; resolves
   * when the files are whole. Aborting ends it. BAD_STATE when it is off, or goes off meanwhile; RESOURCE_BUSY beside another job.
   */
  backup(
    uuid: string,
    disks: readonly BackupTarget[],
    work: { readonly signal: AbortSignal; onProgress: Progress },
    begun: () => Promise<void>,
  ): Promise<void>;
  /** BAD_STATE unless it runs. */
  injectNmi(uuid: string): Promise<void>;
  /** Linux key codes, pressed together and let go. BAD_STATE unless it runs. */
  sendKeys(uuid: string, codes: readonly number[]): Promise<void>;
  /** The first screen as PNG or PPM, in pieces. BAD_STATE when the guest is off or has no screen. */
  screenshot(uuid: string): Promise<Readable>;
  /** The stored definition, with its secrets: for reading, never for showing. */
  getXml(uuid: string): Promise<string>;
  /** What runs, which may have been made from an older definition, without secrets. BAD_STATE when it is off. */
  getRunningXml(uuid: string): Promise<string>;
  /** What goes on when a saved domain is started, without secrets; undefined when libvirt cannot tell, or nothing is saved. */
  getSavedXml(uuid: string): Promise<string | undefined>;
  /** Of the guest that runs, not of its definition, as the next two. BAD_STATE when it is off. */
  setVcpus(uuid: string, vcpus: number): Promise<void>;
  /** Asks the balloon; returns when it was asked. */
  setMemory(uuid: string, memoryBytes: number): Promise<void>;
  /**
   * Changes a device that is there to what its XML says: a medium, a link. `force`: also out of a locked drive, which is
   * BAD_STATE otherwise.
   */
  updateDevice(uuid: string, xml: string, force: boolean): Promise<void>;
  /**
   * Stops at `deadlineMs`; domains whose QEMU does not answer are left out, never waited for twice.
   * @param vcpus also what their vCPUs waited for, which costs a question to each QEMU more
   */
  stats(deadlineMs: number, vcpus?: boolean): Promise<readonly DomainStats[]>;
  /** Running domains whose QEMU did not answer `stats`, and for how long. Absent: never any. */
  silent?(): readonly SilentDomain[];
  /** Devices that come and go under guests that run. */
  readonly devices: DeviceVerbs;
  /** What is asked of guests through the agents in them. */
  readonly guests: GuestAgents;
  /** Live copies of disks. */
  readonly copies: DiskCopies;
  readonly snapshots: SnapshotVerbs;
  readonly cpus: Cpus;
  /** The first serial port, both ways. One reader at a time; `force` takes it over. */
  openConsole(uuid: string, force: boolean): Promise<Duplex>;
  /** One connection to a display, as viewers make it. BAD_STATE when the guest is off or has no such display. */
  openDisplay(uuid: string, kind: DisplayKind): Promise<Duplex>;
  /** Calls `listener` for each event until the returned function is called; first with `connected` if it is already. */
  subscribe(listener: (e: HypervisorEvent) => void): () => void;
  close(): Promise<void>;
}

/** What whoever comes second to a console is told. */
export const consoleTaken = (vm: string): string =>
  `the console of vm ${vm} is in use by somebody else (or by virsh on its host). Take it over: berth vm console ${vm} --force`;

/** The namespace of our element in `<metadata>`; its content is written and read by agent/src/domain. */
export const METADATA_NAMESPACE = 'urn:berth:vm:1';
