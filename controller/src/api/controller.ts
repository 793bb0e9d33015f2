/** ControllerService: about the controller itself, and who the caller is. */
import type { ControllerServiceService } from '@berth/proto/v1/controller.ts';
import type { State } from '../state/state.ts';
import { toWire } from './numbers.ts';
import type { Handlers } from './call.ts';

export interface About {
  readonly state: State;
  readonly version: string;
  readonly startedAtMs: number;
}

export const controllerHandlers = ({ state, version, startedAtMs }: About): Handlers<ControllerServiceService> => ({
  getController: (_, call) => ({
    installationId: state.installationId,
    version,
    revision: toWire(state.revision),
    epoch: toWire(state.epoch),
    startedAtMs: toWire(startedAtMs),
    user: call.user,
    role: call.role,
  }),
});
