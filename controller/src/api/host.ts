/** HostService: hosts as people see them. */
import { HostState, type Host, type HostServiceService } from '@berth/proto/v1/host.ts';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { Host as Stored, HostState as State } from '@berth/shared/model/host.ts';
import type { HostDetails } from '../app/host-view.ts';
import type { HostsApp, Invitation } from '../app/hosts.ts';
import type { TuningApp } from '../app/tuning.ts';
import type { Machines } from '../app/machines.ts';
import { machineHandlers } from './machine.ts';
import { toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import type { Handlers } from './call.ts';
import { insistLabels, type Scope } from './scope.ts';

export const hostHandlers = (
  hosts: HostsApp,
  machines: Machines,
  tuning: TuningApp,
  scope: Scope,
): Handlers<HostServiceService> => ({
  ...machineHandlers(machines, tuning, scope),
  createHost: async (r, call) => {
    const { details, invitation } = await hosts.create(r, call.user);
    return { host: toHost(details), joinToken: toJoinToken(invitation) };
  },
  createJoinToken: async (r, call) => ({ joinToken: toJoinToken(await hosts.createJoinToken(r.host, call.user)) }),
  getHost: (r) => toHost(hosts.get(r.host)),
  listHosts: (r, call) => {
    const fits = parseSelector(r.selector ?? '');
    const keep = (h: Stored) => fits(h.labels) && scope.seesHost(call, h);
    const { items, nextPageToken } = hosts.list(toQuery(r.page), keep);
    return { hosts: items.map(toHost), nextPageToken };
  },
  deleteHost: async (r, call) => {
    await hosts.delete(r.host, r.force, call.user);
    return {};
  },
  drainHost: async (r, call) => {
    const { details, runningVms } = await hosts.drain(r.host, call.user);
    const seen = runningVms.filter((name) => scope.seesVmNamed(call, name));
    return { host: toHost(details), runningVms: seen };
  },
  updateHost: async (r, call) => toHost(await hosts.update(r.host, r, call.user)),
  labelHost: async (r, call) => toHost(await hosts.label(r.host, r, (labels) => insistLabels(call, 'admin', labels))),
  resumeHost: async (r, call) => toHost(await hosts.resume(r.host, call.user)),
});

const STATE: Readonly<Record<State, HostState>> = {
  enrolling: HostState.ENROLLING,
  connecting: HostState.CONNECTING,
  up: HostState.UP,
  unreachable: HostState.UNREACHABLE,
  'certificate-fault': HostState.CERTIFICATE_FAULT,
  maintenance: HostState.MAINTENANCE,
};

const toJoinToken = (i: Invitation) => ({ token: i.line, expiresAtMs: toWire(i.expiresAtMs) });

function toHost(d: HostDetails): Host {
  const { host, status } = d;
  return {
    id: host.id,
    name: host.name,
    address: host.address,
    state: STATE[status.state],
    stateReason: status.reason,
    stateSinceMs: toWire(status.sinceMs),
    maintenance: host.maintenance,
    labels: { ...host.labels },
    createdAtMs: toWire(host.createdAtMs),
    lastSeenAtMs: toWire(status.lastSeenMs),
    facts: toFacts(d),
    capacity: toCapacity(d),
    checks: (status.facts?.checks ?? []).map((c) => ({ ...c })),
    bridges: status.bridges.map(({ name, up, ports, addresses }) => ({
      name,
      up,
      ports: [...ports],
      addresses: [...addresses],
    })),
    vmCount: d.vmCount,
    runningVmCount: d.runningVmCount,
    foreignCount: d.foreignCount,
    runningForeignCount: d.runningForeignCount,
    cleanupDebts: [...d.debts],
  };
}

function toFacts({ status: { facts } }: HostDetails): Host['facts'] {
  if (facts === undefined) return undefined;
  const { hostname, os, kernel, cpuModel, cpuThreads, libvirtVersion, qemuVersion, agentVersion, domainType } = facts;
  return {
    ...{ hostname, os, kernel, cpuModel, cpuThreads, libvirtVersion, qemuVersion, agentVersion, domainType },
    memoryBytes: toWire(facts.memoryBytes),
    bootId: facts.bootId,
  };
}

function toCapacity({ capacity: c, status: { statistics } }: HostDetails): Host['capacity'] {
  return {
    memoryBytes: toWire(c.memoryBytes),
    memoryAvailableBytes: toWire(c.memoryAvailableBytes),
    memoryClaimedBytes: toWire(c.memoryClaimedBytes),
    memoryForeignBytes: toWire(c.memoryForeignBytes),
    memoryLargePagesBytes: toWire(c.memoryLargePagesBytes),
    cpuThreads: c.cpuThreads,
    vcpusClaimed: c.vcpusClaimed,
    diskBytes: toWire(c.diskBytes),
    diskFreeBytes: toWire(c.diskFreeBytes),
    diskClaimedBytes: toWire(c.diskClaimedBytes),
    cpuUsed: statistics?.cpuUsed ?? 0,
    load1: statistics?.load1 ?? 0,
    memoryUsedBytes: toWire(statistics?.memoryUsedBytes),
  };
}
