/** Network cards of a VM's definition: which is which, what each gets that was not said. Reads tables; writes nothing. */
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { nicOptionsOf } from '@berth/shared/hardware/definition-wire.ts';
import type { NicDefinition } from '@berth/shared/hardware/definition.ts';
import type { VmId } from '@berth/shared/model/ids.ts';
import type { Network } from '@berth/shared/model/network.ts';
import type { VmNic } from '@berth/shared/model/vm.ts';
import type { Random } from '@berth/shared/runtime/random.ts';
import type { Tables } from '../state/state.ts';
import type { Faults } from './faults.ts';
import { freeMac, givenMac, normaliseMac } from './macs.ts';
import { resolve } from './names.ts';
import { paired } from './paired.ts';
import { checkAddresses, freeAddress, type Addresses } from './vm-addresses.ts';

export const DEFAULT_BRIDGE = 'br0';

export interface NicMaker {
  readonly tables: Tables;
  readonly random: Random;
  readonly faults: Faults;
  readonly model: string;
  /** The VM that they are for, when it is there already. */
  readonly own?: VmId;
  /** An address may be another VM's too. */
  readonly sharesAddresses?: boolean;
}

/** @param before undefined: the VM is made. */
export function nicsOf(
  from: NicMaker,
  wanted: readonly NicDefinition[],
  before: readonly VmNic[] | undefined,
): readonly VmNic[] {
  const macs = wanted.map((n) => (n.mac === undefined ? undefined : from.faults.of(n.mac, () => normaliseMac(n.mac!))));
  const was = paired(
    wanted,
    before ?? [],
    (_, b, i) => macs[i] === b.mac,
    (n) => n.mac === undefined,
  );
  const twice = macs.find((m, i) => m !== undefined && macs.indexOf(m) !== i);
  if (twice !== undefined) from.faults.add(`MAC address ${twice} is given to two network cards`);
  return wanted.map((n, i) => from.faults.of(EMPTY, () => nic(from, n, was[i], before !== undefined)));
}

const EMPTY: VmNic = { mac: '', bridge: '', model: 'virtio', address: undefined, gateway: undefined, dns: [] };

function nic(from: NicMaker, n: NicDefinition, was: VmNic | undefined, late: boolean): VmNic {
  const network = n.network === undefined ? undefined : usableNetwork(from.tables, n.network, n.bridge);
  const bridge = network?.shape.bridge ?? n.bridge ?? DEFAULT_BRIDGE;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/.test(bridge))
    throw invalidArgument(`${JSON.stringify(bridge.slice(0, 40))} is not the name of a bridge`);
  const options = nicOptionsOf(n);
  const told = late ? kept(n, was) : checkAddresses(n);
  if (told.address !== undefined && bridge !== was?.bridge) freeAddress(from, bridge, told.address);
  return {
    mac: was?.mac ?? (n.mac ? givenMac(from.tables, n.mac, from.own) : freeMac(from.tables, from.random)),
    bridge,
    model: n.model ?? from.model,
    ...told,
    ...(options && { options }),
    ...(network && { networkId: network.id }),
  };
}

/** @param bridge that was named beside it. @throws NOT_FOUND, BAD_STATE, INVALID_ARGUMENT */
export function usableNetwork(tables: Pick<Tables, 'networks'>, name: string, bridge: string | undefined): Network {
  const network = resolve('network', tables.networks, name);
  if (network.state !== 'ready') throw badState(`network ${network.name} is ${network.state}`);
  if (bridge === undefined || bridge === network.shape.bridge) return network;
  throw invalidArgument(
    `network ${network.name} has bridge ${network.shape.bridge}, not ${bridge.slice(0, 40)}: say one of the two`,
  );
}

/** The guest got its addresses when it was made; nothing tells it of others. */
function kept(n: NicDefinition, was: VmNic | undefined): Addresses {
  const { address, gateway, dns } = was ?? EMPTY;
  const same =
    (n.address ?? address) === address && (n.gateway ?? gateway) === gateway && (n.dns ?? dns).join() === dns.join();
  if (same) return { address, gateway, dns };
  const card = was ? `the card ${was.mac}` : 'a new card';
  throw invalidArgument(
    `${card} cannot be given an address: guests are told theirs once, when they are made. Set it inside the guest, or from outside while it is off: berth vm customize`,
  );
}
