/**
 * The VirtualNetworks interface over libvirt's RPC, on a connection of its own, one call at a time: starting a network starts
 * dnsmasq and writes firewall rules, and neither domains nor pools shall wait for that.
 */
import { badState, chain, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { readNetworkXml } from '../../network/network-xml.ts';
import type { VirtualNetworks, VirtualNetworkSeen } from '../virtual-networks.ts';
import type { Connection } from './connection.ts';
import { dial } from './dial.ts';
import { CODE, hasCode } from './errors.ts';
import { beforeDeadline } from './pool.ts';
import type { Procedure } from './procedures.ts';
import { NETWORK, networkRef } from './procedures-network.ts';

export interface LibvirtNetworksOptions {
  /** Asked for every connection: `libvirt-sock`, or `virtnetworkd-sock` where libvirt's daemons are apart. */
  readonly socketPath: () => string;
  readonly uri: () => string;
  readonly clock: Clock;
  readonly deadlineMs?: number | undefined;
}

const DEADLINE_MS = 30_000;
const NO_NETWORK = 43;
/** VIR_NETWORK_XML_INACTIVE: what it shall be at its next start. */
const INACTIVE = 1;

export const createLibvirtNetworks = (o: LibvirtNetworksOptions): VirtualNetworks => new LibvirtNetworks(o);

class LibvirtNetworks implements VirtualNetworks {
  #connection: Promise<Connection> | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  /** By its text, of the networks that were seen last: reading XML costs more than asking for it. */
  #read: ReadonlyMap<string, ReturnType<typeof readNetworkXml>> = new Map();

  constructor(readonly o: LibvirtNetworksOptions) {}

  async list(): Promise<readonly VirtualNetworkSeen[]> {
    const { networks } = await this.#call(NETWORK.list, { needResults: 1, flags: 0 }, 'list networks');
    const seen: VirtualNetworkSeen[] = [];
    const read = new Map<string, ReturnType<typeof readNetworkXml>>();
    for (const net of networks) {
      try {
        const { active } = await this.#call(NETWORK.isActive, { net }, 'look at a network');
        const xml = async (flags: number) => (await this.#call(NETWORK.xml, { net, flags }, 'describe a network')).xml;
        const text = await this.#stored(xml);
        const is = this.#read.get(text) ?? readNetworkXml(text);
        read.set(text, is);
        seen.push({ ...net, active: active !== 0, ...is });
      } catch (e) {
        // undefined meanwhile
        if (!hasCode(e, NO_NETWORK)) throw e;
      }
    }
    this.#read = read;
    return seen;
  }

  /** One that somebody made without defining it has no definition but that which runs. */
  async #stored(xml: (flags: number) => Promise<string>): Promise<string> {
    try {
      return await xml(INACTIVE);
    } catch (e) {
      if (hasCode(e, NO_NETWORK)) throw e;
      return xml(0);
    }
  }

  async define(_uuid: string, xml: string): Promise<void> {
    await this.#call(NETWORK.define, { xml }, 'define the network');
  }

  /** Not when it is defined: an agent that was killed in between would find it defined, and never come back to this. */
  async start(uuid: string): Promise<void> {
    const stays = { net: networkRef(uuid), autostart: 1 };
    await this.#call(NETWORK.setAutostart, stays, 'have the network come up by itself');
    try {
      await this.#call(NETWORK.create, { net: networkRef(uuid) }, 'start the network');
    } catch (e) {
      if (hasCode(e, CODE.operationInvalid) && (await this.#isActive(uuid))) return;
      throw e;
    }
  }

  async stop(uuid: string): Promise<void> {
    try {
      await this.#call(NETWORK.destroy, { net: networkRef(uuid) }, 'stop the network');
    } catch (e) {
      if (hasCode(e, NO_NETWORK)) return;
      if (hasCode(e, CODE.operationInvalid) && !(await this.#isActive(uuid))) return;
      throw e;
    }
  }

  async undefine(uuid: string): Promise<void> {
    try {
      await this.#call(NETWORK.undefine, { net: networkRef(uuid) }, 'forget the network');
    } catch (e) {
      if (!hasCode(e, NO_NETWORK)) throw e;
    }
  }

  async #isActive(uuid: string): Promise<boolean> {
    return (await this.#call(NETWORK.isActive, { net: networkRef(uuid) }, 'look at the network')).active !== 0;
  }

  /** What libvirt only calls internal (dnsmasq, the firewall, the kernel) is a matter of this host. */
  async #call<A, R>(procedure: Procedure<A, R>, args: A, what: string): Promise<R> {
    const turn = this.#tail;
    const answer = turn.then(async () => (await this.#connected()).call(procedure, args, what));
    this.#tail = answer.catch(() => undefined);
    try {
      return await beforeDeadline(this.o.clock, answer, this.o.deadlineMs ?? DEADLINE_MS, () => this.#late(what));
    } catch (e) {
      if (!isClusterError(e, 'INTERNAL')) throw e;
      throw badState(e.message, e.meta, e);
    }
  }

  #connected(): Promise<Connection> {
    const made = (this.#connection ??= this.#dial());
    const drop = (): void => {
      if (this.#connection === made) this.#connection = undefined;
    };
    made.then((c) => c.onClose(drop), drop);
    return made;
  }

  /** Who waits behind a call that is not answered gets a new connection. */
  #late(what: string): ClusterError {
    this.#connection?.then(
      (c) => c.close('a call on it was not answered'),
      () => undefined,
    );
    this.#connection = undefined;
    this.#tail = Promise.resolve();
    return new ClusterError('HYPERVISOR_UNAVAILABLE', `libvirt could not ${what}: it does not answer`);
  }

  async #dial(): Promise<Connection> {
    const { socketPath, uri, clock } = this.o;
    try {
      return await dial({ socketPath: socketPath(), uri: uri(), clock });
    } catch (e) {
      throw new ClusterError('HYPERVISOR_UNAVAILABLE', `libvirt's networks do not answer: ${chain(e)}`);
    }
  }
}
