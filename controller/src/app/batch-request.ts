/** Many VMs of one request: what is asked, what is answered, and what one row asks for. Plain data and pure functions. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';
import type { Reason } from '@berth/shared/errors/reasons.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { CloneVm } from './vm-request.ts';

/** Empty and zero: as in the request for all. */
export interface BatchRow {
  readonly name: string;
  readonly host: string;
  readonly hostSelector: string;
  readonly address: string;
  readonly gateway: string;
  readonly dns: readonly string[];
  readonly mac: string;
  readonly vncPort: number;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly sshKeys: readonly string[];
  readonly userData?: string | undefined;
  /** Of the table that it comes from; 0: none. */
  readonly line: number;
}

export interface CloneMany {
  readonly all: CloneVm;
  readonly rows: readonly BatchRow[];
  readonly atomic: boolean;
  readonly dryRun: boolean;
  /** Empty: none. */
  readonly addressRange: string;
  /** 0: none. */
  readonly firstVncPort: number;
  /** Of this VM, whose disks are no images yet: all is looked at, and nothing is made. */
  readonly of?: OfVm;
}

export interface OfVm {
  readonly vm: string;
  /** Empty: as it is now. */
  readonly snapshot: string;
}

export interface Conflict {
  /** From 1; 0: of all together. */
  readonly row: number;
  readonly line: number;
  readonly name: string;
  readonly message: string;
  readonly reason: Reason;
}

export interface BatchVm {
  readonly name: string;
  readonly host: string;
  readonly address: string;
  readonly mac: string;
  readonly vncPort: number;
  readonly thereAlready: boolean;
}

export interface BatchAnswer {
  readonly jobId: JobId | undefined;
  readonly vms: readonly BatchVm[];
  readonly conflicts: readonly Conflict[];
  readonly notes: readonly string[];
}

/** More than these are another kind of work than a table. */
export const MOST_ROWS = 2000;
const PORTS = { first: 5900, last: 65_535 };

/** What the row asks for, with what holds for all. @param address what it has from a range. */
export function requestOfRow({ all, ...batch }: CloneMany, row: BatchRow, at: number, address: string): CloneVm {
  const port = portOf(batch, row, at);
  return {
    ...all,
    ...{ name: row.name, mac: row.mac, address, dryRun: false },
    host: row.host || (row.hostSelector === '' ? all.host : ''),
    gateway: row.gateway || all.gateway,
    dns: row.dns.length > 0 ? row.dns : all.dns,
    memoryBytes: row.memoryBytes || all.memoryBytes,
    vcpus: row.vcpus || all.vcpus,
    sshKeys: row.sshKeys.length > 0 ? row.sshKeys : all.sshKeys,
    userData: row.userData ?? all.userData,
    ...(port !== undefined && { definition: withPort(all.definition, port) }),
  };
}

/** Of the row itself, else one after the other from the first. */
export function portOf(
  { firstVncPort }: Pick<CloneMany, 'firstVncPort'>,
  row: BatchRow,
  at: number,
): number | undefined {
  if (row.vncPort === 0 && firstVncPort === 0) return undefined;
  const port = row.vncPort || firstVncPort + at;
  if (port >= PORTS.first && port <= PORTS.last) return port;
  throw invalidArgument(`VNC port ${port} cannot be had: they go from ${PORTS.first} to ${PORTS.last}`);
}

/** On the same screen as of all, where there is one; otherwise where nobody but the host itself reaches it. */
function withPort(d: VmDefinition = {}, port: number): VmDefinition {
  const graphics = d.graphics ?? [];
  const vnc = graphics.find((g) => g.type === 'vnc');
  const others = graphics.filter((g) => g !== vnc && g.type !== 'none');
  return { ...d, graphics: [{ listen: '127.0.0.1', ...vnc, type: 'vnc', port }, ...others] };
}
