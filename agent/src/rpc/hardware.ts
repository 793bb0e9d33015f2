/** HardwareService on the wire. */
import type * as wire from '@berth/proto/agent/v1/hardware.ts';
import { checkDomainRef, type DomainRef } from '../domain/domains.ts';
import { checkLink, checkMedium, checkMemory, checkVcpus, type Live } from '../domain/live.ts';
import type { Operations } from '../operations/operations.ts';
import { operationIdOf, orUndefined, toNumber } from './decode.ts';
import { encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

const refOf = (q: { readonly uuid: string; readonly vmId: string }): DomainRef =>
  checkDomainRef({ uuid: q.uuid, vmId: q.vmId });

export const hardwareService = (guard: Guard, operations: Operations, live: Live): wire.HardwareServiceServer => ({
  setVcpus: guard.operation('SetVcpus', async (q: wire.SetVcpusRequest) => {
    const request = checkVcpus({ ...refOf(q), vcpus: q.vcpus });
    return encodeOperation(await operations.run(live.setVcpus, operationIdOf(q), request));
  }),
  setMemory: guard.operation('SetMemory', async (q: wire.SetMemoryRequest) => {
    const request = checkMemory({ ...refOf(q), memoryBytes: toNumber('the memory', q.memoryBytes) });
    return encodeOperation(await operations.run(live.setMemory, operationIdOf(q), request));
  }),
  changeMedium: guard.operation('ChangeMedium', async (q: wire.ChangeMediumRequest) => {
    const { target, force } = q;
    const request = checkMedium({ ...refOf(q), target, imageDigest: orUndefined(q.imageDigest), force });
    return encodeOperation(await operations.run(live.changeMedium, operationIdOf(q), request));
  }),
  setLink: guard.operation('SetLink', async (q: wire.SetLinkRequest) => {
    const request = checkLink({ ...refOf(q), mac: q.mac, down: q.down });
    return encodeOperation(await operations.run(live.setLink, operationIdOf(q), request));
  }),
});
