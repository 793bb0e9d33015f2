/** AdoptionService on the wire. */
import type * as wire from '@berth/proto/agent/v1/adopt.ts';
import { domainToWire } from '@berth/shared/hardware/domain.ts';
import type { DomainDescription } from '../domain/describe.ts';
import { checkDomainRef, type Domains } from '../domain/domains.ts';
import { encodeVolume } from './encode.ts';
import type { Guard } from './guard.ts';

export const adoptionService = (guard: Guard, domains: Domains): wire.AdoptionServiceServer => ({
  describeDomain: guard.read('DescribeDomain', async (q) =>
    encode(await domains.describe(checkDomainRef({ uuid: q.uuid, vmId: q.vmId }))),
  ),
});

const encode = ({ spec, volumes, changes }: DomainDescription): wire.DomainDescription => ({
  spec: domainToWire(spec),
  volumes: volumes.map(encodeVolume),
  changes: [...changes],
});
