/**
 * Why a host will not do: one small function per reason, asked in a fixed order, so that every refusal names the first
 * reason and always the same one. Words for people, with numbers. Choosing among hosts that will do is score.ts.
 */
import {
  allMemoryBytes,
  allVcpus,
  diskRoomBytes,
  freeLargeBytes,
  largePagesBytes,
  memoryOf,
  oneGuest,
  poolRoomBytes,
  qemuOverheadBytes,
  takenMemoryBytes,
  takenVcpus,
  usedShare,
} from './capacity.ts';
import { formatBytes as size } from '@berth/shared/units/bytes.ts';
import { lackingOf } from '@berth/shared/model/cpu.ts';
import type { HostFacts } from '@berth/shared/model/host.ts';
import type { FilterName, PlacementRequest, Policy, WorldHost } from './world.ts';

type About<T> = (host: WorldHost, request: PlacementRequest, policy: Policy) => T;
/** Words that take time to make are made only when somebody reads them. */
type Why = string | About<string>;

interface Filter {
  readonly name: FilterName;
  readonly whyNot: About<Why | undefined>;
}

const STATES: Readonly<Partial<Record<WorldHost['state'], string>>> = {
  enrolling: 'has not enrolled yet',
  connecting: 'not connected yet',
  unreachable: 'unreachable',
  'certificate-fault': 'its certificate is not accepted',
};

/** In the order they are asked. */
const FILTERS: readonly Filter[] = [
  { name: 'state', whyNot: state },
  { name: 'maintenance', whyNot: (h) => (h.maintenance ? 'in maintenance' : undefined) },
  { name: 'review', whyNot: review },
  { name: 'check', whyNot: check },
  {
    name: 'host',
    whyNot: (h, r) => (wantsIt(h, r) ? undefined : 'another host was asked for'),
  },
  { name: 'label', whyNot: label },
  { name: 'port', whyNot: port },
  { name: 'bridge', whyNot: bridge },
  { name: 'capability', whyNot: capability },
  { name: 'cpu-model', whyNot: cpuModel },
  { name: 'cpu', whyNot: cpu },
  { name: 'memory', whyNot: memory },
  { name: 'hugepages', whyNot: largePages },
  { name: 'pool', whyNot: pool },
  { name: 'disk', whyNot: disk },
];

/** The first reason why a host will not do, or undefined. */
export function firstRefusal(host: WorldHost, request: PlacementRequest, policy: Policy): Refused | undefined {
  for (const { name, whyNot } of FILTERS) {
    const why = whyNot(host, request, policy);
    if (why !== undefined) return { name, why };
  }
  return undefined;
}

/** Whether it is one of the hosts that were asked for, if any were. */
export const wantsIt = (h: WorldHost, { hostId, fits }: Pick<PlacementRequest, 'hostId' | 'fits'>): boolean =>
  (hostId === undefined || hostId === h.id) && (fits?.(h.labels) ?? true);

interface Refused {
  readonly name: FilterName;
  readonly why: Why;
}

function state(h: WorldHost): string | undefined {
  return h.state === 'up' || h.state === 'maintenance' ? reported(h) : h.stateReason || STATES[h.state];
}

function reported(h: WorldHost): string | undefined {
  if (h.libvirtAway) return 'libvirt there does not answer';
  return h.facts ? undefined : 'has not reported what it has yet';
}

/** What lives there already may be started by a person. */
function review(h: WorldHost, { own }: PlacementRequest): string | undefined {
  const closed = h.reviewed === true && own === undefined;
  return closed ? `restored, and not accepted yet: berth host review ${h.name}` : undefined;
}

function check(host: WorldHost): string | undefined {
  const fault = host.facts?.checks.find((c) => c.fatal && !c.ok);
  return fault && `${fault.name}: ${fault.detail}`;
}

function label(host: WorldHost, request: PlacementRequest): string | undefined {
  const missing = request.hostLabels.find(([k, v]) => host.labels[k] !== v);
  return missing && `${missing[0]}=${missing[1]} required`;
}

/** Where it lives already, its ports are a matter between it and its neighbours: not all of them run. */
function port(host: WorldHost, { ports, own }: PlacementRequest): Why | undefined {
  if (ports === undefined || own?.hostId === host.id) return undefined;
  const found = ports.find((p) => p.taken.has(host.id));
  return found && `port ${found.port} is taken by vm ${found.taken.get(host.id)}`;
}

function bridge(host: WorldHost, request: PlacementRequest): string | undefined {
  for (const name of request.bridges) {
    const found = host.bridges.find((b) => b.name === name);
    if (!found) return `has no bridge ${name}`;
    if (!found.up) return `its bridge ${name} is down`;
  }
  for (const { id, name } of request.networks ?? []) {
    const why = host.whyNoNetwork?.(id);
    if (why !== undefined) return `lacks network ${name}: ${why}`;
  }
  return undefined;
}

function capability(host: WorldHost, request: PlacementRequest): string | undefined {
  if (!host.facts?.domainType) return 'cannot run domains';
  const missing = request.capabilities.find((c) => !host.facts?.capabilities.includes(c));
  if (missing) return `lacks ${missing}`;
  const fetches = request.image === undefined || request.image.hosts.has(host.id);
  const can = fetches || host.facts.capabilities.includes('image.fetch');
  return can ? undefined : 'has no copy of the image, and its agent lacks image.fetch to get one: upgrade it';
}

/** Where guests are only emulated, QEMU leaves out what it cannot emulate of a model that is named, and goes on. */
function cpuModel({ facts }: WorldHost, { cpu: needs }: PlacementRequest): Why | undefined {
  if (needs === undefined || facts === undefined) return undefined;
  if ('model' in needs) {
    if (facts.domainType === 'qemu' || facts.cpu === undefined || facts.cpu.models.includes(needs.model))
      return undefined;
    return `its guests cannot have CPU ${needs.model}`;
  }
  const { baseline } = needs;
  if (facts.cpu === undefined) return 'does not tell which CPU its guests can have: upgrade its agent';
  const lacking = lackingOf(facts.cpu, baseline);
  return lacking.length === 0
    ? undefined
    : () => `below the cluster's CPU (${baseline.model}): lacks ${someOf(lacking)}`;
}

const someOf = (features: readonly string[]): string =>
  features.length > 6 ? `${features.slice(0, 5).join(', ')} and ${features.length - 5} more` : features.join(', ');

function freeVcpus(host: WorldHost, facts: HostFacts, request: PlacementRequest, policy: Policy): number {
  return allVcpus(facts, policy) - takenVcpus(host, 'powered', request.own);
}

function cpu(host: WorldHost, request: PlacementRequest, policy: Policy): Why | undefined {
  const { facts } = host;
  if (!facts) return reported(host);
  const fits = request.vcpus <= facts.cpuThreads && request.vcpus <= freeVcpus(host, facts, request, policy);
  return fits ? undefined : cpuWords;
}

function cpuWords(host: WorldHost, request: PlacementRequest, policy: Policy): string {
  const facts = host.facts!;
  const { cpuThreads } = facts;
  if (request.vcpus > cpuThreads) return `${cpuThreads} threads, ${request.vcpus} vCPU wanted`;
  const free = Math.max(0, freeVcpus(host, facts, request, policy));
  const overcommit = policy.cpuOvercommit.toFixed(1);
  return `${free} vCPU free of ${request.vcpus} wanted (${cpuThreads} threads, overcommit ${overcommit})`;
}

function freeMemoryBytes(host: WorldHost, facts: HostFacts, request: PlacementRequest, policy: Policy): number {
  return allMemoryBytes(facts, policy) - takenMemoryBytes(host, facts, 'powered', request.own);
}

function memory(host: WorldHost, request: PlacementRequest, policy: Policy): Why | undefined {
  const { facts } = host;
  if (!facts) return reported(host);
  const wanted = memoryOf(oneGuest(request), facts.domainType);
  return wanted <= freeMemoryBytes(host, facts, request, policy) ? undefined : memoryWords;
}

function memoryWords(host: WorldHost, request: PlacementRequest, policy: Policy): string {
  const facts = host.facts!;
  const overhead = qemuOverheadBytes(oneGuest(request), facts.domainType);
  const wanted = memoryOf(oneGuest(request), facts.domainType);
  const words = `${size(wanted)} wanted (${size(overhead)} of it for QEMU)`;
  const all = allMemoryBytes(facts, policy);
  const kept = largePagesBytes(facts);
  const without = kept > 0 ? ` (without ${size(kept)} in large pages)` : '';
  if (wanted > all) return `${size(all)} in all${without}, ${words}`;
  return `${size(Math.max(0, freeMemoryBytes(host, facts, request, policy)))} free of ${words}`;
}

function largePages(host: WorldHost, { pageBytes, memoryBytes, own }: PlacementRequest): Why | undefined {
  const { facts } = host;
  if (pageBytes === undefined || facts === undefined) return undefined;
  if (memoryBytes <= freeLargeBytes(host, facts, pageBytes, own)) return undefined;
  return () => {
    const free = size(Math.max(0, freeLargeBytes(host, facts, pageBytes, own)));
    return `${free} free of ${size(memoryBytes)} wanted in pages of ${size(pageBytes)}: berth host tune ${host.name} --hugepages`;
  };
}

function pool(host: WorldHost, { pools, own }: PlacementRequest): Why | undefined {
  for (const wanted of pools ?? []) {
    const there = host.pools?.get(wanted.poolId);
    if (there === undefined) return `has no pool ${wanted.name}`;
    if (there.state !== 'active') return `its pool ${wanted.name} is ${there.state}`;
    if (there.fixed === true) continue;
    const counts = own !== undefined && (wanted.shared || own.hostId === host.id);
    const mine = counts ? (own.poolBytes?.[wanted.poolId] ?? 0) : 0;
    const grows = wanted.bytes > mine;
    const used = usedShare(there.capacityBytes, there.availableBytes);
    if (grows && used * 100 >= there.stopPercent) return () => full(wanted.name, used, there.stopPercent);
    const room = poolRoomBytes(there) + mine;
    if (grows && wanted.bytes > room)
      return () => `pool ${wanted.name}: ${size(Math.max(0, room))} free of ${size(wanted.bytes)} wanted`;
  }
  return undefined;
}

const full = (name: string, used: number, stopPercent: number): string =>
  `pool ${name} is ${Math.floor(used * 100)} % full, and takes nothing more from ${stopPercent} % on`;

/** The image counts where it is not yet. */
function imageBytes(host: WorldHost, { image }: PlacementRequest): number {
  return image === undefined || image.hosts.has(host.id) ? 0 : image.fileBytes;
}

function disk(host: WorldHost, request: PlacementRequest, policy: Policy): Why | undefined {
  const { facts } = host;
  if (!facts) return reported(host);
  const used = usedShare(facts.diskBytes, host.diskFreeBytes);
  const { diskStopShare = Infinity } = policy;
  const mine = request.own?.hostId === host.id ? request.own.diskBytes : 0;
  if (used >= diskStopShare && request.diskBytes > mine)
    return () => full('local', used, Math.round(diskStopShare * 100));
  const room = diskRoomBytes(host, facts, policy, request.own) - request.diskBytes;
  return room >= 0 && room >= imageBytes(host, request) ? undefined : diskWords;
}

function diskWords(host: WorldHost, request: PlacementRequest, policy: Policy): string {
  const image = imageBytes(host, request);
  const imageWords = image > 0 ? ` (${size(image)} of it for the image)` : '';
  const room = Math.max(0, diskRoomBytes(host, host.facts!, policy, request.own));
  return `${size(room)} free of ${size(request.diskBytes + image)} wanted${imageWords}`;
}
