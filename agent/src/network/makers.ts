/**
 * How each kind of logical network is made, taken away and looked at on this host: an isolated bridge by `ip`, a network with NAT by
 * libvirt. Decides nothing about when; logical-networks.ts does.
 */
import { alreadyExists, badState, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Bridge } from '@berth/shared/model/host.ts';
import type { Bridges } from '../drivers/machine.ts';
import type { VirtualNetworks, VirtualNetworkSeen } from '../drivers/virtual-networks.ts';
import type { NetworkSpec } from './network-spec.ts';
import { networkHash, networkUuid, networkXml } from './network-xml.ts';
import { refuseOverlaps, type Taken } from './overlaps.ts';

export interface MakersDeps {
  readonly bridges: Bridges;
  readonly networks: VirtualNetworks;
  readonly hostName: string;
}

/** What is on this host, looked at once for all networks. */
export interface HostNetworks {
  readonly bridges: readonly Bridge[];
  readonly virtual: readonly VirtualNetworkSeen[];
}

export class Makers {
  constructor(private readonly deps: MakersDeps) {}

  async look(): Promise<HostNetworks> {
    const { bridges, networks } = this.deps;
    return { bridges: await bridges.list(), virtual: await known(networks) };
  }

  /** Why it cannot be made here, thrown. @param others of ours */
  async refuse(spec: NetworkSpec, others: readonly NetworkSpec[], host: HostNetworks): Promise<void> {
    const { name, shape } = spec;
    const uuid = networkUuid(spec.networkId);
    const taken = host.virtual.filter((n) => n.uuid !== uuid);
    const same = taken.find((n) => n.name === name);
    if (same && shape.kind === 'nat')
      throw alreadyExists(
        `libvirt on ${this.deps.hostName} has a network ${name} already (${same.uuid}), not made by Berth: choose another name`,
      );
    const holder = taken.find((n) => n.bridge === shape.bridge) ?? others.find((o) => o.shape.bridge === shape.bridge);
    if (holder)
      throw badState(
        `network ${name}: bridge ${shape.bridge} on ${this.deps.hostName} is that of network ${holder.name}: choose another (--bridge)`,
      );
    const bridge = host.bridges.find((b) => b.name === shape.bridge);
    const mine =
      shape.kind === 'isolated' ? bridge?.owned === true : host.virtual.some((n) => n.uuid === uuid && n.active);
    const there = bridge !== undefined || (await this.#isInterface(shape.bridge));
    if (there && !mine)
      throw badState(
        `network ${name}: ${this.deps.hostName} has ${shape.bridge} already, and Berth did not make it: choose another (--bridge), or use it as it is (--bridge ${shape.bridge} alone)`,
      );
    refuseOverlaps(
      { name, bridge: shape.bridge, addresses: shape.addresses },
      await this.#taken(taken, others),
      this.deps.hostName,
    );
  }

  async #isInterface(name: string): Promise<boolean> {
    return (await this.deps.bridges.links()).includes(name);
  }

  async #taken(virtual: readonly VirtualNetworkSeen[], others: readonly NetworkSpec[]): Promise<readonly Taken[]> {
    return [
      ...(await this.deps.bridges.taken()),
      ...virtual.flatMap(({ name, bridge, addresses }) =>
        addresses.map((network) => ({ network, device: bridge, what: `${network} of libvirt's network ${name}` })),
      ),
      ...others.flatMap(({ name, shape }) =>
        shape.addresses.map((network) => ({ network, device: shape.bridge, what: `${network} of network ${name}` })),
      ),
    ];
  }

  /** Twice is once. */
  async make(spec: NetworkSpec): Promise<void> {
    const { bridges, networks } = this.deps;
    const { kind, bridge, addresses } = spec.shape;
    if (kind === 'isolated') return bridges.ensure(bridge, addresses);
    const uuid = networkUuid(spec.networkId);
    const seen = (await networks.list()).find((n) => n.uuid === uuid);
    if (seen?.mark?.hash !== networkHash(spec)) await networks.define(uuid, networkXml(spec));
    if (seen?.active !== true) await networks.start(uuid);
  }

  /** IN_USE while something is plugged in. What is not there is fine. */
  async remove(networkId: string, kept: NetworkSpec | undefined): Promise<void> {
    const { bridges, networks } = this.deps;
    if (kept?.shape.kind === 'isolated') return this.#removeBridge(kept.shape.bridge);
    const uuid = networkUuid(networkId);
    const seen = (await known(networks)).find((n) => n.uuid === uuid);
    if (!seen) return;
    const ports = (await bridges.list()).find((b) => b.name === seen.bridge)?.ports ?? [];
    if (seen.active && ports.length > 0)
      throw new ClusterError(
        'IN_USE',
        `network ${seen.name} is in use on ${this.deps.hostName}: ${ports.join(', ')} are plugged into it; stop the VMs on it first`,
      );
    await networks.stop(uuid);
    await networks.undefine(uuid);
  }

  /** A name that somebody else has taken meanwhile is no bridge of ours any more. One that was half made is in no list. */
  async #removeBridge(name: string): Promise<void> {
    const bridge = (await this.deps.bridges.list()).find((b) => b.name === name);
    if (bridge ? bridge.owned : !(await this.#isInterface(name))) await this.deps.bridges.remove(name);
  }
}

/** A libvirt without networks has none; that is no reason against bridges. */
async function known(networks: VirtualNetworks): Promise<readonly VirtualNetworkSeen[]> {
  try {
    return await networks.list();
  } catch (e) {
    if (isClusterError(e, 'UNSUPPORTED')) return [];
    throw e;
  }
}
