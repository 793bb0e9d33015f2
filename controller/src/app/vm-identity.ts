/** How a guest learns who it is, when its VM is made and later: what may be asked for, and what of it goes to its host. Pure. */
import { badState, invalidArgument, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';
import { IDENTITIES, type Identity, type Vm, type VmSpec } from '@berth/shared/model/vm.ts';
import { isSshKey } from '@berth/shared/trust/ssh-key.ts';
import { systemDisk } from '../jobs/offline-identity.ts';
import type { CustomizeParams } from '../jobs/vm-customize.ts';
import { isOfBlocks } from '../jobs/world-pools.ts';
import { checkAddresses, freeAddress } from './vm-addresses.ts';
import { poolName } from './vm-pools.ts';
import type { Tables } from '../state/state.ts';

/** @throws INVALID_ARGUMENT */
export function checkKey(key: string): string {
  const line = key.trim();
  if (isSshKey(line)) return line;
  throw invalidArgument(`${JSON.stringify(line.slice(0, 40))} is not an SSH public key (ssh-ed25519 AAAA…)`);
}

export function checkIdentity(word: string): Identity {
  const known = IDENTITIES.find((i) => i === word);
  if (known) return known;
  throw invalidArgument(`${JSON.stringify(word.slice(0, 40))} is no way to an identity: ${IDENTITIES.join(', ')}`);
}

/** @param before of a VM that is changed: it has been told who it is. */
export function identityOf(
  what: string,
  { identity }: VmDefinition,
  before: VmSpec | undefined,
): Pick<VmSpec, 'identity'> {
  const had = before && (before.identity ?? 'cloud-init');
  if (had !== undefined && identity !== undefined && identity !== had)
    throw invalidArgument(
      `${what}: identity is ${had}, chosen when the vm was made. What its guest is told now: berth vm customize`,
    );
  const now = had ?? identity ?? 'cloud-init';
  return now === 'cloud-init' ? {} : { identity: now };
}

/** What goes with identity offline alone, and what it needs. */
export function offlineOf(
  identity: Identity | undefined,
  r: { readonly firstBoot?: string | undefined; readonly userData?: string | undefined; readonly template: boolean },
): Pick<VmSpec, 'firstBoot'> {
  const { firstBoot = '', userData = '', template } = r;
  if (identity === 'offline' && !template)
    throw invalidArgument('identity offline changes the guest on a disk, and no disk has an image with a guest on it');
  if (identity === 'offline' && userData !== '')
    throw invalidArgument('user-data is read by cloud-init alone: with identity offline, give a first-boot script');
  if (identity !== 'offline' && firstBoot !== '')
    throw invalidArgument(
      'a first-boot script goes with identity offline: with cloud-init, give it as user-data, which may be a script',
    );
  return firstBoot === '' ? {} : { firstBoot: checkScript(firstBoot) };
}

const MAX_SCRIPT = 65_536;

function checkScript(script: string): string {
  if (Buffer.byteLength(script) > MAX_SCRIPT)
    throw invalidArgument(
      `the first-boot script is ${Buffer.byteLength(script)} bytes long; ${MAX_SCRIPT} are allowed`,
    );
  if (script.startsWith('#!') && !script.includes('\0')) return script;
  throw invalidArgument(
    'the first-boot script must be a text whose first line says what runs it, for example #!/bin/sh',
  );
}

/** As of CustomizeVmRequest; empty: left as it is. */
export interface CustomizeVm {
  readonly hostname: string;
  readonly address: string;
  readonly gateway: string;
  readonly dns: readonly string[];
  readonly sshKeys: readonly string[];
  readonly sshUser: string;
  readonly firstBoot: string;
  readonly serialLogin: boolean;
  readonly newMachineId: boolean;
  readonly newHostKeys: boolean;
  readonly generalize: boolean;
  readonly allowTakenAddress?: boolean | undefined;
}

/** @throws INVALID_ARGUMENT */
export function checkCustomize(w: CustomizeVm): CustomizeVm {
  const { hostname, address, gateway, dns, sshKeys, firstBoot } = w;
  const asked = [hostname, address, firstBoot, ...sshKeys].some((t) => t !== '');
  if (!asked && !w.serialLogin && !w.newMachineId && !w.newHostKeys && !w.generalize)
    throw invalidArgument(
      'nothing was asked for: a host name, an address, SSH keys, a first-boot script, a serial login, a new machine id, new host keys, or that it be generalized',
    );
  if (address === '' && (gateway !== '' || dns.length > 0))
    throw invalidArgument('a gateway and name servers go with an address: give it too, or dhcp');
  if (address === 'dhcp' && gateway !== '') throw invalidArgument('a gateway comes with the address, by DHCP');
  checkAddresses({ address: address === 'dhcp' ? '' : address, gateway, dns });
  if (firstBoot !== '') checkScript(firstBoot);
  return { ...w, sshKeys: sshKeys.map(checkKey) };
}

/** The network of all its cards is written anew, so what is not said of the others is what they were made with. */
export function customizeParams(tables: Pick<Tables, 'vms' | 'pools'>, vm: Vm, w: CustomizeVm): CustomizeParams {
  const disk = systemDisk(vm.spec);
  if (disk === undefined) throw badState(`vm ${vm.name} has no disk, so there is no guest that could be changed`);
  // the appliance that changes guests opens files
  if (isOfBlocks(tables, disk.poolId))
    throw unsupported(
      `the guest of vm ${vm.name} is on disk ${disk.target}, in pool ${poolName(tables, disk.poolId)}, which holds no files: it ` +
        `cannot be changed from outside`,
    );
  const { hostname, address, gateway, dns, sshKeys, sshUser, firstBoot, serialLogin } = w;
  const { newMachineId, newHostKeys, generalize } = w;
  const [first] = vm.spec.nics;
  if (address !== '' && first === undefined)
    throw badState(`vm ${vm.name} has no network card that could get an address`);
  const network = address === '' || !first ? undefined : { mac: first.mac, address: address === 'dhcp' ? '' : address };
  if (network?.address && first)
    freeAddress({ tables, own: vm.id, sharesAddresses: w.allowTakenAddress === true }, first.bridge, network.address);
  return {
    vmId: vm.id,
    ...(network && { network: { ...network, gateway, dns: [...dns] } }),
    actions: {
      ...{ hostname, sshKeys: [...sshKeys], sshUser, firstBoot, serialLogin },
      ...{ newMachineId, newHostKeys, generalize },
    },
  };
}
