/** DomainService on the wire. */
import type * as wire from '@berth/proto/agent/v1/domain.ts';
import { partsFromWire } from '@berth/shared/hardware/domain.ts';
import { checkId } from '../ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Disks } from '../drivers/disks.ts';
import type { Consoles } from '../domain/consoles.ts';
import { checkDomainRef, type DomainRef, type Domains } from '../domain/domains.ts';
import { readSerialLog } from '../domain/serial-log.ts';
import { checkDomainSpec, type DomainSpec } from '../domain/spec.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { domainReport } from '../watch/items.ts';
import { consoleHandler } from './console.ts';
import { operationIdOf, orUndefined, present, toNumber } from './decode.ts';
import { encodeDomain, encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

export interface DomainServiceDeps {
  readonly domains: Domains;
  readonly operations: Operations;
  readonly consoles: Consoles;
  readonly disks: Disks;
  readonly clock: Clock;
}

export function domainService(guard: Guard, d: DomainServiceDeps): wire.DomainServiceServer {
  const verb = (name: string, kind: OperationKind<DomainRef>) =>
    guard.operation(name, async (q: wire.DomainRequest) => {
      const ref = checkDomainRef({ uuid: q.uuid, vmId: q.vmId });
      return encodeOperation(await d.operations.run(kind, operationIdOf(q), ref));
    });
  return {
    ensureDomain: guard.operation('EnsureDomain', async (q) => {
      const spec = checkDomainSpec(readSpec(present('domain spec', q.spec)));
      return encodeOperation(await d.operations.run(d.domains.ensure, operationIdOf(q), spec));
    }),
    startDomain: verb('StartDomain', d.domains.start),
    shutdownDomain: verb('ShutdownDomain', d.domains.shutdown),
    forceOffDomain: verb('ForceOffDomain', d.domains.forceOff),
    removeDomain: verb('RemoveDomain', d.domains.remove),
    listDomains: guard.read('ListDomains', async () => ({
      domains: (await d.domains.list()).map((s) => encodeDomain(domainReport(s))),
    })),
    readSerialLog: guard.serverStream('ReadSerialLog', async (q, send, signal) => {
      const { follow, from } = q;
      const request = { vmId: checkId('vm', q.vmId), tailBytes: toNumber('the tail', q.tailBytes), follow, from };
      for await (const piece of readSerialLog(d, request, signal))
        await send({ ...piece, data: Buffer.from(piece.data) });
    }),
    openConsole: guard.bidi('OpenConsole', consoleHandler(d.consoles)),
  };
}

export const readSpec = (s: wire.DomainSpec): DomainSpec => ({
  vmId: s.vmId,
  uuid: s.uuid,
  name: s.name,
  vcpus: s.vcpus,
  memoryBytes: toNumber('the memory', s.memoryBytes),
  ...partsFromWire(`vm ${s.name.slice(0, 64)}`, s),
  seedVolumeId: orUndefined(s.seedVolumeId),
  generation: toNumber('the generation', s.generation),
});
