/** AdoptionService on the wire. */
import type * as wire from '@berth/proto/agent/v1/adopt.ts';
import type { DomainDescription } from '../domain/describe.ts';
import { checkDomainRef, type Domains } from '../domain/domains.ts';
import { encodeVolume, toWire } from './encode.ts';
import type { Guard } from './guard.ts';

export const adoptionService = (guard: Guard, domains: Domains): wire.AdoptionServiceServer => ({
  describeDomain: guard.read('DescribeDomain', async (q) =>
    encode(await domains.describe(checkDomainRef({ uuid: q.uuid, vmId: q.vmId }))),
  ),
});

const encode = ({ spec, volumes, changes }: DomainDescription): wire.DomainDescription => ({
  spec: {
    ...spec,
    memoryBytes: toWire(spec.memoryBytes),
    disks: spec.disks.map((d) => ({ ...d })),
    nics: spec.nics.map((n) => ({ ...n })),
    seedVolumeId: spec.seedVolumeId ?? '',
    generation: toWire(spec.generation),
  },
  volumes: volumes.map(encodeVolume),
  changes: [...changes],
});
