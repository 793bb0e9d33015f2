/** What a domain is to be: the spec, its check, and its hash. Pure. */
import { createHash } from 'node:crypto';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { checkMachine } from '@berth/shared/hardware/check.ts';
import type { DomainDefinition } from '@berth/shared/hardware/domain.ts';
import { NIC_MODELS } from '@berth/shared/hardware/schema.ts';
import { busOf, TARGET } from '@berth/shared/hardware/targets.ts';
import { checkBytes, checkDigest, checkId, checkInterface, checkMac, checkName, checkUuid } from '../ids.ts';
import { canonicalJson } from '../operations/request-hash.ts';

export type DomainSpec = DomainDefinition;

const MIB = 2 ** 20;

/** Gives it back in its normal form. @throws INVALID_ARGUMENT */
export function checkDomainSpec(s: DomainSpec): DomainSpec {
  checkId('vm', s.vmId);
  checkUuid(s.uuid);
  checkName('vm', s.name);
  if (!Number.isInteger(s.vcpus) || s.vcpus < 1 || s.vcpus > 1024)
    throw invalidArgument(`vm ${s.name}: ${s.vcpus} vCPUs is out of range (1 to 1024)`);
  checkBytes(`vm ${s.name}: memory`, s.memoryBytes, 16 * MIB, 64 * 2 ** 40);
  if (s.memoryBytes % MIB !== 0) throw invalidArgument(`vm ${s.name}: memory must be whole MiB`);
  if (!Number.isSafeInteger(s.generation) || s.generation < 0) throw invalidArgument(`vm ${s.name}: bad generation`);
  for (const d of s.disks) {
    checkId('volume', d.volumeId);
    if (!TARGET.test(d.target))
      throw invalidArgument(
        `vm ${s.name}: disk target ${JSON.stringify(d.target.slice(0, 20))} is not vda to vdy, sda to sdy or hda to hdd`,
      );
  }
  for (const c of s.cdroms ?? []) checkCdrom(s, c);
  if (s.seedVolumeId !== undefined) checkId('volume', s.seedVolumeId);
  const nics = s.nics.map((n) => ({
    ...n,
    mac: checkMac(n.mac),
    bridge: checkInterface('bridge', n.bridge),
    model: n.model || 'virtio',
  }));
  const odd = nics.find((n) => !NIC_MODELS.some((m) => m === n.model));
  if (odd)
    throw invalidArgument(`vm ${s.name}: network card model ${JSON.stringify(odd.model.slice(0, 40))} is not known`);
  unique(
    s,
    'disk target',
    s.disks.map((d) => d.target),
  );
  unique(s, 'volume', [...s.disks.map((d) => d.volumeId), ...(s.seedVolumeId ? [s.seedVolumeId] : [])]);
  unique(
    s,
    'MAC address',
    nics.map((n) => n.mac),
  );
  checkMachine(`vm ${s.name}`, { ...s, nics, hardware: s.hardware ?? {}, cdroms: s.cdroms ?? [] });
  return { ...s, ...inOrder(s), nics };
}

function checkCdrom(s: DomainSpec, c: NonNullable<DomainSpec['cdroms']>[number]): void {
  if (c.imageDigest !== undefined) checkDigest(c.imageDigest);
  else if (c.bus === 'usb')
    throw invalidArgument(`vm ${s.name}: CD-ROM drive ${c.target} is on USB, where QEMU has no empty drives; use sata`);
}

/** Disks and drives as libvirt orders them: bus by bus as they come, on each by their letter. */
function inOrder({ disks, cdroms = [], seedVolumeId }: DomainSpec): Pick<DomainSpec, 'disks' | 'cdroms'> {
  const busOfDisk = (d: DomainSpec['disks'][number]): string => d.options?.bus ?? busOf(d.target);
  const buses = [
    ...disks.map(busOfDisk),
    ...(seedVolumeId === undefined ? [] : ['virtio']),
    ...cdroms.map((c) => c.bus as string),
  ];
  const by =
    <T extends { readonly target: string }>(bus: (d: T) => string) =>
    (a: T, b: T): number =>
      buses.indexOf(bus(a)) - buses.indexOf(bus(b)) || (a.target < b.target ? -1 : 1);
  return {
    disks: [...disks].sort(by(busOfDisk)),
    ...(cdroms.length > 0 && { cdroms: [...cdroms].sort(by((c) => c.bus)) }),
  };
}

/**
 * Equal for equal specs. The generation is not part of it; neither are passwords, which are short, and whoever may read
 * the definition could guess them from it.
 */
export function specHash(s: DomainSpec): string {
  const { generation: _generation, hardware, ...rest } = s;
  const graphics = hardware?.graphics?.map((g) => (g.password === undefined ? g : { ...g, password: '' }));
  const known = { ...rest, ...(hardware && { hardware: { ...hardware, ...(graphics && { graphics }) } }) };
  return createHash('sha256').update(canonicalJson(known)).digest('hex').slice(0, 32);
}

function unique(s: DomainSpec, what: string, values: readonly string[]): void {
  const twice = values.find((v, i) => values.indexOf(v) !== i);
  if (twice !== undefined) throw invalidArgument(`vm ${s.name}: ${what} ${twice} is given twice`);
}
