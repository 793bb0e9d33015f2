/** MachineService on the wire. */
import type { BaselineCpuRequest, EnsureTuningRequest, MachineServiceServer } from '@berth/proto/agent/v1/machine.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { CpuDefinition } from '@berth/shared/model/cpu.ts';
import { checkTuning } from '@berth/shared/tuning/check.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Drivers } from '../drivers/machine.ts';
import type { Abilities } from '../host/abilities.ts';
import { checkHost } from '../host/checks.ts';
import { defineTuning } from '../host/tuning.ts';
import type { Operations } from '../operations/operations.ts';
import { operationIdOf } from './decode.ts';
import { encodeCpu, encodeOperation, toWire } from './encode.ts';
import { encodeInventory } from './encode-inventory.ts';
import type { Guard } from './guard.ts';

export interface MachineServiceDeps {
  readonly drivers: Drivers;
  readonly clock: Clock;
  readonly operations: Operations;
  readonly abilities: () => Promise<Abilities>;
}

const MOST_CPUS = 64;
/** As libvirt and QEMU name models and features. */
const NAME = /^[\w.+-]{1,64}$/;

/** @throws INVALID_ARGUMENT */
function cpusOf({ cpus }: BaselineCpuRequest): readonly CpuDefinition[] {
  if (cpus.length === 0 || cpus.length > MOST_CPUS) throw invalidArgument(`cpus must be 1 to ${MOST_CPUS}`);
  return cpus.map(({ model, vendor, features }) => {
    for (const name of [model, ...(vendor === '' ? [] : [vendor]), ...features.map((f) => f.name)])
      if (!NAME.test(name)) throw invalidArgument(`cpus: ${JSON.stringify(name.slice(0, 64))} is no name of a CPU`);
    const policyOf = (policy: string) => (policy === 'disable' ? 'disable' : 'require');
    return { model, vendor, features: features.map((f) => ({ name: f.name, policy: policyOf(f.policy) })) };
  });
}

export function machineService(
  guard: Guard,
  { drivers, clock, operations, abilities }: MachineServiceDeps,
): MachineServiceServer {
  const tune = defineTuning(drivers.machine.tuning, operations);
  return {
    checkMachine: guard.read('CheckMachine', async (q) => {
      const checks = (await checkHost(drivers, q.names)).map((c) => ({ ...c }));
      return { checks, clockMs: toWire(clock.now()) };
    }),
    baselineCpu: guard.read('BaselineCpu', async (q: BaselineCpuRequest) => {
      const { all, models, ...definition } = await drivers.hypervisor.cpus.baseline(
        cpusOf(q),
        (await abilities()).domainType,
      );
      return { definition: encodeCpu(definition), features: [...all], models: [...models] };
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
