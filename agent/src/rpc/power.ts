/** PowerService on the wire. */
import type { DomainRequest } from '@berth/proto/agent/v1/domain.ts';
import type { PowerServiceServer } from '@berth/proto/agent/v1/power.ts';
import { checkDomainRef, type DomainRef } from '../domain/domains.ts';
import type { Power } from '../domain/power.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { operationIdOf } from './decode.ts';
import { encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

export function powerService(guard: Guard, operations: Operations, power: Power): PowerServiceServer {
  const verb = (name: string, kind: OperationKind<DomainRef>) =>
    guard.operation(name, async (q: DomainRequest) => {
      const ref = checkDomainRef({ uuid: q.uuid, vmId: q.vmId });
      return encodeOperation(await operations.run(kind, operationIdOf(q), ref));
    });
  return {
    rebootDomain: verb('RebootDomain', power.reboot),
    resetDomain: verb('ResetDomain', power.reset),
    suspendDomain: verb('SuspendDomain', power.suspend),
    resumeDomain: verb('ResumeDomain', power.resume),
  };
}
