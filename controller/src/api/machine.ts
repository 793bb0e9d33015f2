/** What HostService says of the machines that hosts are. */
import type { HostServiceService } from '@berth/proto/v1/host.ts';
import type { HostHardware, HostTuning } from '@berth/proto/v1/machine.ts';
import type { Inventory } from '@berth/shared/model/inventory.ts';
import type { Machines } from '../app/machines.ts';
import type { TuningApp, TuningView } from '../app/tuning.ts';
import type { Handlers } from './call.ts';
import { toWire } from './numbers.ts';
import type { Scope } from './scope.ts';

type Mine = 'checkHost' | 'readHostHardware' | 'readHostTuning' | 'tuneHost';

export const machineHandlers = (
  machines: Machines,
  tuning: TuningApp,
  scope: Scope,
): Pick<Handlers<HostServiceService>, Mine> => ({
  checkHost: async (r, call) => {
    const { host, checks, clockSkewMs } = await machines.check(r.host, (other) => scope.seesHost(call, other));
    return { host: host.name, checks: checks.map((c) => ({ ...c })), clockSkewMs };
  },
  readHostHardware: async (r) => {
    const { host, inventory } = await machines.inventory(r.host);
    return toHardware(host.name, inventory);
  },
  readHostTuning: async (r) => toTuning(await tuning.show(r.host)),
  tuneHost: async (r, call) => toTuning(await tuning.tune(r.host, r, call.user)),
});

const toTuning = ({ host, items, pending }: TuningView): HostTuning => ({
  host: host.name,
  settings: items.map((s) => ({ ...s, choices: [...s.choices] })),
  pending,
});

function toHardware(host: string, i: Inventory): HostHardware {
  return {
    host,
    cpu: { ...i.cpu },
    numa: i.numa.map((n) => ({
      ...n,
      memoryBytes: toWire(n.memoryBytes),
      freeBytes: toWire(n.freeBytes),
      distances: [...n.distances],
    })),
    nics: i.nics.map((n) => ({ ...n })),
    disks: i.disks.map((d) => ({ ...d, sizeBytes: toWire(d.sizeBytes) })),
    pci: i.pci.map((d) => ({ ...d })),
    usb: i.usb.map((d) => ({ ...d })),
  };
}
