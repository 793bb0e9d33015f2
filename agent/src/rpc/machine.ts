/** MachineService on the wire. */
import type { EnsureTuningRequest, MachineServiceServer } from '@berth/proto/agent/v1/machine.ts';
import { checkTuning } from '@berth/shared/tuning/check.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Drivers } from '../drivers/machine.ts';
import { checkHost } from '../host/checks.ts';
import { defineTuning } from '../host/tuning.ts';
import type { Operations } from '../operations/operations.ts';
import { operationIdOf } from './decode.ts';
import { encodeOperation, toWire } from './encode.ts';
import { encodeInventory } from './encode-inventory.ts';
import type { Guard } from './guard.ts';

export interface MachineServiceDeps {
  readonly drivers: Drivers;
  readonly clock: Clock;
  readonly operations: Operations;
}

export function machineService(guard: Guard, { drivers, clock, operations }: MachineServiceDeps): MachineServiceServer {
  const tune = defineTuning(drivers.machine.tuning, operations);
  return {
    checkMachine: guard.read('CheckMachine', async (q) => {
      const checks = (await checkHost(drivers, q.names)).map((c) => ({ ...c }));
      return { checks, clockMs: toWire(clock.now()) };
    }),
    getTuning: guard.read('GetTuning', async () => ({
      settings: (await drivers.machine.tuning.read()).map((s) => ({ ...s, choices: [...s.choices] })),
    })),
    ensureTuning: guard.operation('EnsureTuning', async (q: EnsureTuningRequest) =>
      encodeOperation(await operations.run(tune, operationIdOf(q), checkTuning(q.settings))),
    ),
    getHardware: guard.read('GetHardware', async () => encodeInventory(await drivers.machine.inventory())),
  };
}
