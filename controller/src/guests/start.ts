/** The guests that a controller knows: at once the built-in ones, and what libosinfo has as soon as it is read. */
import { Guests } from './guests.ts';
import { readOsinfo } from './osinfo.ts';

/** @param dir libosinfo's data; it need not be there. */
export function startGuests(dir: string): Guests {
  const guests = new Guests();
  // readOsinfo leaves out what it cannot read
  void readOsinfo(dir).then((known) => guests.learn(known));
  return guests;
}
