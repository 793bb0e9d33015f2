/** CustomizeService on the wire. */
import type { CustomizeServiceServer, GuestActions } from '@berth/proto/agent/v1/customize.ts';
import type { Actions } from '../customize/actions.ts';
import { checkCustomize, type Customizer } from '../customize/customizer.ts';
import { checkUploadId } from '../ids.ts';
import type { Operations } from '../operations/operations.ts';
import { operationIdOf, present } from './decode.ts';
import { encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

export function customizeService(guard: Guard, operations: Operations, customizer: Customizer): CustomizeServiceServer {
  return {
    customizeVolume: guard.operation('CustomizeVolume', async (q) => {
      const { volumeId, domainUuid } = q;
      const wanted = checkCustomize({ volumeId, domainUuid, actions: readActions(present('actions', q.actions)) });
      return encodeOperation(await operations.run(customizer.customize, operationIdOf(q), wanted));
    }),
    generalizeUpload: guard.operation('GeneralizeUpload', async (q) => {
      const wanted = { uploadId: checkUploadId(q.uploadId) };
      return encodeOperation(await operations.run(customizer.generalize, operationIdOf(q), wanted));
    }),
  };
}

const readActions = (a: GuestActions): Actions => ({
  hostname: a.hostname,
  nics: a.nics.map((n) => ({ mac: n.mac, address: n.address, gateway: n.gateway, dns: n.dns })),
  sshKeys: a.sshKeys,
  sshUser: a.sshUser,
  firstBoot: a.firstBoot,
  serialLogin: a.serialLogin,
  newMachineId: a.newMachineId,
  newHostKeys: a.newHostKeys,
  generalize: a.generalize,
});
