/** The displays of simulated guests: one that greets as VNC does, and gives back what it gets. */
import { PassThrough, type Duplex } from 'node:stream';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { SimDomain, SimHost } from '@berth/shared/sim/sim-host.ts';
import type { DisplayKind } from '../hypervisor.ts';

const GREETING = 'RFB 003.008\n';

/** Over when its guest is. */
export function openSimDisplay(host: SimHost, { uuid, name, power, xml }: SimDomain, kind: DisplayKind): Duplex {
  if (power === 'stopped' || power === 'crashed') throw badState(`domain ${name} is ${power}`);
  if (!new RegExp(`<graphics type=['"]${kind}['"]`).test(xml)) throw badState(`vm ${name} has no ${kind} display`);
  const display = new PassThrough();
  if (kind === 'vnc') display.write(GREETING);
  const forget = host.onDomain((changed) => {
    const now = host.domains.get(uuid)?.power;
    if (changed === uuid && now !== 'running' && now !== 'paused') display.destroy();
  });
  display.once('close', forget);
  return display;
}
