/** MachineService on the wire. */
import type { MachineServiceServer } from '@berth/proto/agent/v1/machine.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Drivers } from '../drivers/machine.ts';
import { checkHost } from '../host/checks.ts';
import { toWire } from './encode.ts';
import { encodeInventory } from './encode-inventory.ts';
import type { Guard } from './guard.ts';

export interface MachineServiceDeps {
  readonly drivers: Drivers;
  readonly clock: Clock;
}

export function machineService(guard: Guard, { drivers, clock }: MachineServiceDeps): MachineServiceServer {
  return {
    checkMachine: guard.read('CheckMachine', async (q) => {
      const checks = (await checkHost(drivers, q.names)).map((c) => ({ ...c }));
      return { checks, clockMs: toWire(clock.now()) };
    }),
    getHardware: guard.read('GetHardware', async () => encodeInventory(await drivers.machine.inventory())),
  };
}
