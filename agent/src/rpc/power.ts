/** PowerService on the wire. */
import type { DomainRequest } from '@berth/proto/agent/v1/domain.ts';
import type { PowerServiceServer, SendKeysRequest, TakeScreenshotRequest } from '@berth/proto/agent/v1/power.ts';
import { checkDomainRef, type DomainRef } from '../domain/domains.ts';
import { checkKeys, type Power } from '../domain/power.ts';
import type { Screenshots } from '../domain/screenshot.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { operationIdOf } from './decode.ts';
import { encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

const PIECE_BYTES = 64 * 1024;

export function powerService(
  guard: Guard,
  operations: Operations,
  power: Power,
  screenshots: Screenshots,
): PowerServiceServer {
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
    saveDomain: verb('SaveDomain', power.save),
    discardSaved: verb('DiscardSaved', power.discardSaved),
    injectNmi: verb('InjectNmi', power.nmi),
    sendKeys: guard.operation('SendKeys', async (q: SendKeysRequest) => {
      const ref = checkDomainRef({ uuid: q.uuid, vmId: q.vmId });
      const request = checkKeys({ ...ref, chords: q.chords.map((c) => c.codes) });
      return encodeOperation(await operations.run(power.sendKeys, operationIdOf(q), request));
    }),
    takeScreenshot: guard.serverStream('TakeScreenshot', async (q: TakeScreenshotRequest, send, signal) => {
      const png = await screenshots.take(checkDomainRef({ uuid: q.uuid, vmId: q.vmId }), signal);
      for (let at = 0; at < png.length; at += PIECE_BYTES) await send({ data: png.subarray(at, at + PIECE_BYTES) });
    }),
  };
}
