/** Devices of a simulated guest that runs: it lets go of everything at once, unless it is deaf. */
import { badState, notFound, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import type { DeviceVerbs } from '../device-verbs.ts';

const keyOf = (device: string): string | undefined =>
  (/<target [^>]*dev=["']([^"']+)/.exec(device) ?? /<mac [^>]*address=["']([^"']+)/.exec(device))?.[1];

const devicesIn = (xml: string): string[] => [...xml.matchAll(/<(disk|interface)\b[\s\S]*?<\/\1>/g)].map((m) => m[0]);

export const simDevices = (host: SimHost): DeviceVerbs => ({
  resizeDisk: async (uuid, target) => {
    if (!devicesIn(host.getRunningXml(uuid)).some((d) => keyOf(d) === target)) throw notFound(`no disk ${target}`);
  },
  attach: async (uuid, xml) =>
    host.changeRunning(uuid, (running) => {
      if (/<target [^>]*bus="(sata|ide)"/.test(xml)) throw unsupported('disk bus cannot be hotplugged.');
      if (devicesIn(running).some((d) => keyOf(d) === keyOf(xml)))
        throw badState(`target ${keyOf(xml)} already exists`);
      return running.replace('</devices>', () => `${xml}</devices>`);
    }),
  detach: async (uuid, xml) =>
    host.changeRunning(uuid, (running) => {
      const there = devicesIn(running).find((d) => keyOf(d) === keyOf(xml));
      if (there === undefined) throw notFound(`device not found: ${keyOf(xml)}`);
      return host.faults.deafGuests ? running : running.replace(there, () => '');
    }),
});
