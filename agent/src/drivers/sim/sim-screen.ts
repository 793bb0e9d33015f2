/** The screens of simulated guests: all of one colour, as PPM. Guests without a video device have none. */
import { Readable } from 'node:stream';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { SimDomain } from '@berth/shared/sim/sim-host.ts';

const [WIDTH, HEIGHT] = [64, 40];

export function simScreenshot({ name, power, xml }: SimDomain): Readable {
  if (power === 'stopped' || power === 'crashed') throw badState(`domain ${name} is ${power}`);
  if (!xml.includes('<video')) throw badState(`vm ${name} has no screen`);
  return Readable.from([Buffer.from(`P6\n${WIDTH} ${HEIGHT}\n255\n`), Buffer.alloc(WIDTH * HEIGHT * 3, 0x33)]);
}
