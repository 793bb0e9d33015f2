/** A host as Berth keeps it (intent), and as its agent reports it (observation). Plain data; no I/O. */
import type { HostCpu } from './cpu.ts';
import type { HostId } from './ids.ts';
import type { HostFigures } from './statistics.ts';
import type { Tuning } from './tuning.ts';

/** What is durable about a host. */
export interface Host {
  readonly id: HostId;
  readonly name: string;
  /** host:port of its agent. */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly maintenance: boolean;
  /** SHA-256 (hex) of the certificate it enrolled with; undefined until then. */
  readonly certificateFingerprint: string | undefined;
  readonly createdAtMs: number;
  readonly generation: number;
  /** Settings of its kernel that Berth keeps; absent: none. */
  readonly tuning?: Tuning;
}

export type HostState = 'enrolling' | 'connecting' | 'up' | 'unreachable' | 'certificate-fault' | 'maintenance';

export interface HostCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly fatal: boolean;
}

export interface Bridge {
  readonly name: string;
  readonly up: boolean;
  readonly ports: readonly string[];
  readonly addresses: readonly string[];
  readonly owned: boolean;
}

export interface HostFacts {
  readonly hostname: string;
  readonly os: string;
  readonly kernel: string;
  readonly cpuModel: string;
  readonly cpuThreads: number;
  readonly memoryBytes: number;
  readonly libvirtVersion: string;
  readonly qemuVersion: string;
  readonly agentVersion: string;
  readonly domainType: string;
  readonly bootId: string;
  readonly checks: readonly HostCheck[];
  readonly capabilities: readonly string[];
  readonly diskBytes: number;
  readonly diskFreeBytes: number;
  readonly peerAddress: string;
  /** Where its agent gives out metrics by itself; empty or absent: nowhere. */
  readonly metricsAddress?: string;
  /** Memory that is kept for large pages, by their size. Absent: not known, none. */
  readonly largePages?: readonly LargePages[];
  /** What guests get there as host-model. Absent: not known. */
  readonly cpu?: HostCpu;
}

export interface LargePages {
  readonly sizeBytes: number;
  readonly total: number;
  /** Neither in use nor promised to a process. */
  readonly free: number;
  /** How many it shall have, where Berth keeps that; absent in what a host reports. */
  readonly wanted?: number;
}

export interface HostStatistics {
  readonly atMs: number;
  readonly cpuUsed: number;
  readonly load1: number;
  readonly memoryUsedBytes: number;
  readonly diskBytes: number;
  readonly diskFreeBytes: number;
  /** Absent: its agent does not tell. */
  readonly figures?: HostFigures | undefined;
}

/** The shown state: one pure function of intent and connection. Maintenance is shown only while the host can be reached. */
export function hostState(
  host: Host,
  link: 'none' | 'connecting' | 'up' | 'unreachable' | 'certificate-fault',
): HostState {
  if (host.certificateFingerprint === undefined) return 'enrolling';
  if (link === 'up') return host.maintenance ? 'maintenance' : 'up';
  return link === 'none' ? 'connecting' : link;
}
