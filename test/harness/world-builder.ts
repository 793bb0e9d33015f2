/** Hosts for scheduler tests and benches: a plain one, and what makes this one different. Builds data; checks nothing. */
import { saltOf } from '@berth/controller/scheduler/score.ts';
import type { WorldHost } from '@berth/controller/scheduler/world.ts';
import { ClaimSums, type Claim } from '@berth/shared/model/claim.ts';
import type { HostFacts } from '@berth/shared/model/host.ts';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';

export const GIB = 1024 ** 3;

export function facts(over: Partial<HostFacts> = {}): HostFacts {
  return {
    hostname: 'h',
    os: 'Debian 12',
    kernel: '6.1',
    cpuModel: 'EPYC',
    cpuThreads: 8,
    memoryBytes: 16 * GIB,
    libvirtVersion: '9.0.0',
    qemuVersion: '7.2.0',
    agentVersion: '0.0.0',
    domainType: 'kvm',
    bootId: 'b',
    checks: [],
    capabilities: [
      'image.fetch',
      'image.relay',
      'serial-log',
      'console',
      'domain.describe',
      'domain.power',
      'domain.save',
      'image.capture',
      'snapshots',
      'image.export',
      'domain.input',
      'domain.screenshot',
      'guest.agent',
      'domain.hardware',
      'domain.live',
      'volume.data',
      'pool',
      'networks',
      'volume.rewrite',
      'volume.move',
      'volume.transfer',
      'volume.export',
      'volume.upload',
      'volume.foreign',
      'domain.devices',
      'volume.customize',
    ],
    diskBytes: 100 * GIB,
    diskFreeBytes: 100 * GIB,
    peerAddress: '127.0.0.1:7445',
    ...over,
  };
}

export function worldHost(name: string, over: Partial<WorldHost> = {}): WorldHost {
  const f = over.facts ?? facts();
  return {
    id: `host-${name}` as HostId,
    name,
    state: 'up',
    stateReason: '',
    maintenance: false,
    labels: {},
    bridges: [{ name: 'br0', up: true, ports: [], addresses: [], owned: true }],
    foreign: new ClaimSums(),
    claims: new ClaimSums(),
    allocatedBytes: 0,
    diskFreeBytes: f.diskFreeBytes,
    salt: saltOf(name),
    ...over,
    facts: 'facts' in over ? over.facts : f,
  };
}

export function claimOn(host: { id: HostId }, vm: string, over: Partial<Claim> = {}): Claim {
  const vmId = `vm-${vm}` as VmId;
  return { vmId, hostId: host.id, vcpus: 1, memoryBytes: GIB, diskBytes: 10 * GIB, powered: true, ...over };
}
