/**
 * A lab: some hosts in a network of their own. Everything carries the lab's label, so that it can be found and removed by
 * another process, also after a crash. The images must be there already (setup.js).
 */
import { ADDRESS_LABEL, docker, HOST_LABEL, LAB_LABEL, labFilter, NETWORK_LABEL, tolerate } from './engine.ts';
import type { HostSpec } from './host-container.ts';
import { startHostContainer } from './host-container.ts';
import { LabHost } from './host.ts';
import { createNetwork, removeNetworks } from './network.ts';

export interface LabOptions {
  /** Names of the hosts, such as h1 h2 h3. */
  readonly hosts: readonly string[];
  /** Tells this lab from others on the machine: letters, digits, dashes. */
  readonly label: string;
  /** For tests of a full disk: every host gets its disk directory as a file system of this size. */
  readonly disk?: HostSpec['disk'];
  readonly share?: HostSpec['share'];
  /** What process 1 of every host is. */
  readonly init?: HostSpec['init'];
  readonly fuse?: HostSpec['fuse'];
  readonly image?: HostSpec['image'];
}

export interface Lab {
  readonly label: string;
  readonly hosts: readonly LabHost[];
  host(name: string): LabHost;
  stop(): Promise<void>;
}

/** Starts the hosts in parallel. When one fails, nothing is left behind. */
export async function startLab(options: LabOptions): Promise<Lab> {
  const { label } = options;
  if (!/^[a-z0-9][a-z0-9-]*$/.test(label)) throw new Error(`lab label ${label}: only letters, digits and dashes`);
  const engine = await docker();
  if ((await engine.listContainers({ all: true, filters: labFilter(label) })).length > 0)
    throw new Error(`lab ${label} exists already; remove it first`);
  try {
    const network = await createNetwork(engine, label);
    const hosts = await Promise.all(
      options.hosts.map(async (name, index) => {
        const identity = { name, address: network.addressOf(index), network: network.name };
        const id = await startHostContainer({
          ...identity,
          label,
          bridgeAddress: bridgeAddress(index),
          disk: options.disk,
          share: options.share,
          init: options.init,
          fuse: options.fuse,
          image: options.image,
        });
        return new LabHost(engine, engine.getContainer(id), identity);
      }),
    );
    return makeLab(label, hosts);
  } catch (error) {
    await removeLab(label);
    throw error;
  }
}

/** A lab that another process started, or undefined. Hosts that are down are listed too. */
export async function findLab(label: string): Promise<Lab | undefined> {
  const engine = await docker();
  const containers = await engine.listContainers({ all: true, filters: labFilter(label) });
  const hosts = containers.flatMap(({ Id, Labels }) => {
    const { [HOST_LABEL]: name, [ADDRESS_LABEL]: address, [NETWORK_LABEL]: network } = Labels;
    if (name === undefined || address === undefined || network === undefined) return [];
    return [new LabHost(engine, engine.getContainer(Id), { name, address, network })];
  });
  hosts.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  return hosts.length === 0 ? undefined : makeLab(label, hosts);
}

/** Removes a lab's hosts with their disks, and its network. Answers how many containers there were. */
export async function removeLab(label: string): Promise<number> {
  return removeMatching(label);
}

/** Removes every lab on this machine. */
export async function removeAll(): Promise<number> {
  return removeMatching();
}

/** Labels of the labs on this machine, running or not. */
export async function listLabs(): Promise<string[]> {
  const engine = await docker();
  const containers = await engine.listContainers({ all: true, filters: labFilter() });
  const networks = await engine.listNetworks({ filters: labFilter() });
  const labels = [...containers, ...networks].map(({ Labels }) => Labels?.[LAB_LABEL] ?? '');
  return [...new Set(labels)].filter((label) => label !== '').sort();
}

async function removeMatching(label?: string): Promise<number> {
  const engine = await docker();
  const containers = await engine.listContainers({ all: true, filters: labFilter(label) });
  await Promise.all(
    containers.map(({ Id }) => tolerate([404, 409], () => engine.getContainer(Id).remove({ force: true, v: true }))),
  );
  await removeNetworks(engine, label);
  return containers.length;
}

function makeLab(label: string, hosts: readonly LabHost[]): Lab {
  return {
    label,
    hosts,
    host(name) {
      const host = hosts.find((candidate) => candidate.name === name);
      if (host === undefined) throw new Error(`lab ${label} has no host ${name}`);
      return host;
    },
    stop: async () => void (await removeLab(label)),
  };
}

/** Counted from the top of the range, so that neither hosts nor the guests of examples (.11, .12) meet. */
export function bridgeAddress(index: number): string {
  return `10.77.0.${254 - (index % 200)}/24`;
}
