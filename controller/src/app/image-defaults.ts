/**
 * What an image says of VMs that are made of it: checked so that it fits any VM on any host, and put below what a person asks for.
 * Pure.
 */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';

/** What belongs to one VM, one host or one person. */
const NOT_DEFAULTS: readonly (keyof VmDefinition)[] = ['hostDevices', 'sshKeys', 'userData', 'cdroms', 'kernel'];

/** @param what begins the refusal: `image debian`. @throws INVALID_ARGUMENT, one line per fault */
export function checkDefaults(what: string, d: VmDefinition): VmDefinition {
  const faults: string[] = [];
  const refuse = (field: string, why: string): unknown => faults.push(`${what}: ${field} ${why}`);
  for (const field of NOT_DEFAULTS)
    if (isSaid(d[field])) refuse(field, 'belongs to one VM or one host: an image is for many');
  for (const [i, nic] of (d.nics ?? []).entries())
    for (const field of ['mac', 'address'] as const)
      if (nic[field] !== undefined) refuse(`nics.${i}.${field}`, 'belongs to one VM: an image is for many');
  for (const [i, g] of (d.graphics ?? []).entries()) {
    if (g.port !== undefined) refuse(`graphics.${i}.port`, 'belongs to one VM: an image is for many');
    if (g.password !== undefined) refuse(`graphics.${i}.password`, 'would be shown to all who may see the image');
  }
  if (d.disks?.some((disk) => disk.image !== undefined))
    refuse('disks', 'are made from this image: a default can say only their sizes and options');
  if (faults.length > 0) throw invalidArgument(faults.join('\n'));
  return withoutEmpty(d);
}

const isSaid = (v: unknown): boolean => v !== undefined && !(Array.isArray(v) && v.length === 0);

/** Empty lists come over the wire for what is not said. */
const withoutEmpty = (d: VmDefinition): VmDefinition =>
  Object.fromEntries(Object.entries(d).filter(([, v]) => isSaid(v))) as VmDefinition;

/** What is asked for goes before what the image says, field by field. */
export function withDefaults(asked: VmDefinition, defaults: VmDefinition | undefined): VmDefinition {
  return defaults === undefined ? asked : { ...defaults, ...withoutEmpty(asked) };
}
