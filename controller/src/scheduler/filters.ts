/**
 * Why a host will not do: one small function per reason, asked in a fixed order, so that every refusal names the first
 * reason and always the same one. Words for people, with numbers. Choosing among hosts that will do is score.ts.
 */
import { capacity, diskRoomBytes, load, qemuOverheadBytes } from './capacity.ts';
import { formatBytes as size } from '@berth/shared/units/bytes.ts';
import type { FilterName, PlacementRequest, Policy, WorldHost } from './world.ts';

type Filter = (host: WorldHost, request: PlacementRequest, policy: Policy) => string | undefined;

const STATES: Readonly<Partial<Record<WorldHost['state'], string>>> = {
  enrolling: 'has not enrolled yet',
  connecting: 'not connected yet',
  unreachable: 'unreachable',
  'certificate-fault': 'its certificate is not accepted',
};

/** In the order they are asked. */
export const FILTERS: readonly (readonly [FilterName, Filter])[] = [
  ['state', (h) => (h.state === 'up' || h.state === 'maintenance' ? reported(h) : h.stateReason || STATES[h.state])],
  ['maintenance', (h) => (h.maintenance ? 'in maintenance' : undefined)],
  ['check', (h) => h.facts?.checks.filter((c) => c.fatal && !c.ok).map((c) => `${c.name}: ${c.detail}`)[0]],
  ['host', (h, r) => (r.hostId === undefined || r.hostId === h.id ? undefined : 'another host was asked for')],
  ['label', label],
  ['bridge', bridge],
  ['capability', capability],
  ['cpu', cpu],
  ['memory', memory],
  ['disk', disk],
];

const reported = (h: WorldHost): string | undefined => (h.facts ? undefined : 'has not reported what it has yet');

function label(host: WorldHost, request: PlacementRequest): string | undefined {
  const missing = Object.entries(request.hostLabels).find(([k, v]) => host.labels[k] !== v);
  return missing && `${missing[0]}=${missing[1]} required`;
}

function bridge(host: WorldHost, request: PlacementRequest): string | undefined {
  for (const name of request.bridges) {
    const found = host.bridges.find((b) => b.name === name);
    if (!found) return `has no bridge ${name}`;
    if (!found.up) return `its bridge ${name} is down`;
  }
  return undefined;
}

function capability(host: WorldHost, request: PlacementRequest): string | undefined {
  if (!host.facts?.domainType) return 'cannot run domains';
  const missing = request.capabilities.find((c) => !host.facts?.capabilities.includes(c));
  return missing && `lacks ${missing}`;
}

function cpu(host: WorldHost, request: PlacementRequest, policy: Policy): string | undefined {
  const facts = host.facts;
  if (!facts) return reported(host);
  const all = capacity(facts, policy).vcpus;
  if (request.vcpus > facts.cpuThreads) return `${facts.cpuThreads} threads, ${request.vcpus} vCPU wanted`;
  const free = all - load(host, facts, 'powered', request.vmId).vcpus;
  if (request.vcpus <= free) return undefined;
  return `${Math.max(0, free)} vCPU free of ${request.vcpus} wanted (${facts.cpuThreads} threads, overcommit ${policy.cpuOvercommit.toFixed(1)})`;
}

function memory(host: WorldHost, request: PlacementRequest, policy: Policy): string | undefined {
  const facts = host.facts;
  if (!facts) return reported(host);
  const all = capacity(facts, policy).memoryBytes;
  const overhead = qemuOverheadBytes(request, facts.domainType);
  const wanted = request.memoryBytes + overhead;
  const words = `${size(wanted)} wanted (${size(overhead)} of it for QEMU)`;
  if (wanted > all) return `${size(all)} in all, ${words}`;
  const free = all - load(host, facts, 'powered', request.vmId).memoryBytes;
  return wanted <= free ? undefined : `${size(Math.max(0, free))} free of ${words}`;
}

function disk(host: WorldHost, request: PlacementRequest, policy: Policy): string | undefined {
  const facts = host.facts;
  if (!facts) return reported(host);
  const image = request.image && !host.imageDigests.has(request.image.digest) ? request.image.fileBytes : 0;
  const wanted = request.diskBytes + image;
  const room = diskRoomBytes(host, facts, policy, request.vmId);
  if (wanted <= room) return undefined;
  const imageWords = image > 0 ? ` (${size(image)} of it for the image)` : '';
  return `${size(Math.max(0, room))} free of ${size(wanted)} wanted${imageWords}`;
}
