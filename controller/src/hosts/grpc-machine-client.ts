/** MachineClient over gRPC: encode, call with the deadline of its class, decode. No decisions. */
import { MachineServiceService as Machine } from '@berth/proto/agent/v1/machine.ts';
import type { TuningSeen } from '@berth/shared/model/tuning.ts';
import { MOST_SETTINGS } from '@berth/shared/tuning/check.ts';
import type { Method } from './connection.ts';
import { toChecks } from './decode.ts';
import { cpuToWire, toWorkedOutCpu } from './decode-cpu.ts';
import { clip } from './limits.ts';
import { toInventory } from './decode-inventory.ts';
import type { MachineClient } from './machine-client.ts';

/** A look at everything, names included; each of them may take the resolver some seconds. */
const CHECK_MS = 25_000;
/** Thousands of small files. */
const HARDWARE_MS = 20_000;

/** libvirt is asked of some hundred models, and waits while a domain is launched. */
const BASELINE_MS = 60_000;

type Call = <Req, Res>(m: Method<Req, Res>, request: Req, timeoutMs: number) => Promise<Res>;

export const machineClient = (call: Call): MachineClient => ({
  async check(names) {
    const { checks, clockMs } = await call(Machine.checkMachine, { names: [...names] }, CHECK_MS);
    return { checks: toChecks(checks), clockMs: Number(clockMs) };
  },
  async tuning() {
    const { settings } = await call(Machine.getTuning, {}, HARDWARE_MS);
    return { settings: settings.slice(0, MOST_SETTINGS).map(toSetting) };
  },
  baselineCpu: async (cpus) =>
    toWorkedOutCpu(await call(Machine.baselineCpu, { cpus: cpus.map(cpuToWire) }, BASELINE_MS)),
  inventory: async () => toInventory(await call(Machine.getHardware, {}, HARDWARE_MS)),
});

const toSetting = (s: TuningSeen): TuningSeen => ({
  name: clip(s.name, 100),
  value: clip(s.value, 64),
  choices: s.choices.slice(0, 64).map((c) => clip(c, 64)),
  recommended: clip(s.recommended, 64),
  note: clip(s.note, 200),
});
