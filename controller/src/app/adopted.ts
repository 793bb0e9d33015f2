/** From what a host says of a domain to the VM row that it becomes. A host may say anything: all of it is checked. No tables are written. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { DefinedCdrom, DefinedNic } from '@berth/shared/hardware/domain.ts';
import { TARGET } from '@berth/shared/hardware/targets.ts';
import { isId, timeOfId, type HostId, type ImageId, type PoolId } from '@berth/shared/model/ids.ts';
import type { Vm, VmCdrom, VmDisk, VmNic, VmSpec } from '@berth/shared/model/vm.ts';
import type { DomainDescription } from '../hosts/agent-client.ts';
import { normaliseMac } from './macs.ts';
import { checkName } from './names.ts';

const MIB = 1024 ** 2;
const TIB = 1024 ** 4;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const BRIDGE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/;
const MOST_DISKS = 25;

export interface Adopting {
  readonly description: DomainDescription;
  readonly hostId: HostId;
  readonly on: boolean;
  /** As the inventory has it, where it knows the VM on another host: what no domain holds is kept from it. */
  readonly known: Vm | undefined;
  imageOf(digest: string): ImageId;
  /** Of a volume, as its host tells; undefined: local, or none that is known. */
  poolOf(volumeId: string): PoolId | undefined;
}

/** BAD_STATE when it is nothing that Berth could have made. */
export function adoptedVm(a: Adopting): Vm {
  const { wanted } = a.description;
  const { vmId, uuid, generation } = wanted;
  if (!isId('vm', vmId) || !UUID.test(uuid) || !within(generation, 0, 2 ** 50))
    throw badState('its host gives no proper id of it');
  return {
    id: vmId,
    name: checkName('vm', wanted.name),
    uuid,
    phase: 'ready',
    hostId: a.hostId,
    desiredPower: a.on ? 'on' : 'off',
    spec: specOf(a),
    generation,
    createdAtMs: a.known?.createdAtMs ?? timeOfId(vmId),
  };
}

function specOf({ description, known, imageOf, poolOf }: Adopting): VmSpec {
  const { vcpus, memoryBytes, seedVolumeId, disks, nics, hardware, cdroms } = description.wanted;
  if (!within(vcpus, 1, 1024) || !within(memoryBytes, MIB, 64 * TIB))
    throw badState(`its host says that it has ${vcpus} vCPU and ${memoryBytes} bytes of memory: that cannot be`);
  if (disks.length > MOST_DISKS || nics.length > MOST_DISKS) throw badState('its host says that it has too many disks');
  if (seedVolumeId !== undefined && !isId('volume', seedVolumeId)) throw badState('its seed has no proper id');
  const { sshKeys, userData, labels, runPolicy } = known?.spec ?? UNKNOWN;
  return {
    vcpus,
    memoryBytes,
    disks: disks.map((d) => disk(d, description, { imageOf, poolOf })),
    nics: nics.map((n) => nic(n, known)),
    seedVolumeId,
    sshKeys,
    userData,
    labels,
    runPolicy,
    ...(hardware && { hardware }),
    ...(cdroms && { cdroms: cdroms.map((c) => cdrom(c, imageOf)) }),
  };
}

/** What no domain holds. */
const UNKNOWN = { sshKeys: [], userData: '', labels: {}, runPolicy: 'manual' } as const;

const within = (n: number, least: number, most: number): boolean => Number.isSafeInteger(n) && n >= least && n <= most;

function disk(
  d: DomainDescription['wanted']['disks'][number],
  { volumes }: DomainDescription,
  { imageOf, poolOf }: Pick<Adopting, 'imageOf' | 'poolOf'>,
): VmDisk {
  const volume = volumes.get(d.volumeId);
  if (!isId('volume', d.volumeId) || !TARGET.test(d.target) || !volume || !within(volume.sizeBytes, 0, 64 * TIB))
    throw badState(`its disk ${d.target} is not a volume of Berth's`);
  const imageId = volume.imageDigest === undefined ? undefined : imageOf(volume.imageDigest);
  const pool = poolOf(d.volumeId);
  return {
    ...{ target: d.target, volumeId: d.volumeId, sizeBytes: volume.sizeBytes, imageId },
    ...(pool && { poolId: pool }),
    ...(d.options && { options: d.options }),
  };
}

const cdrom = ({ target, bus, imageDigest }: DefinedCdrom, imageOf: Adopting['imageOf']): VmCdrom => ({
  ...{ target, bus },
  imageId: imageDigest === undefined ? undefined : imageOf(imageDigest),
});

function nic({ mac: given, bridge, model, options }: DefinedNic, known: Vm | undefined): VmNic {
  if (!BRIDGE.test(bridge)) throw badState(`its network card ${given} is on no proper bridge`);
  const mac = normaliseMac(given);
  const was = known?.spec.nics.find((n) => n.mac === mac);
  const asked = { address: was?.address, gateway: was?.gateway, dns: was?.dns ?? [] };
  const network = was?.networkId && was.bridge === bridge && { networkId: was.networkId };
  return { mac, bridge, model: model || 'virtio', ...asked, ...(options && { options }), ...network };
}
