/** MachineClient over gRPC: encode, call with the deadline of its class, decode. No decisions. */
import { MachineServiceService as Machine } from '@berth/proto/agent/v1/machine.ts';
import type { Method } from './connection.ts';
import { toChecks } from './decode.ts';
import { toInventory } from './decode-inventory.ts';
import type { MachineClient } from './machine-client.ts';

/** A look at everything, names included; each of them may take the resolver some seconds. */
const CHECK_MS = 25_000;
/** Thousands of small files. */
const HARDWARE_MS = 20_000;

type Call = <Req, Res>(m: Method<Req, Res>, request: Req, timeoutMs: number) => Promise<Res>;

export const machineClient = (call: Call): MachineClient => ({
  async check(names) {
    const { checks, clockMs } = await call(Machine.checkMachine, { names: [...names] }, CHECK_MS);
    return { checks: toChecks(checks), clockMs: Number(clockMs) };
  },
  inventory: async () => toInventory(await call(Machine.getHardware, {}, HARDWARE_MS)),
});
