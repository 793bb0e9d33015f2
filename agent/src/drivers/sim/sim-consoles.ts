/**
 * Serial consoles of simulated guests: one reader at a time, and over when the guest is. What such a guest answers is its
 * name before each line, on the port and in its serial log; what it prints at boot goes to the log alone. `count 500` makes it
 * print so many numbered lines, one after the other, whoever listens.
 */
import { Duplex } from 'node:stream';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { consoleTaken } from '../hypervisor.ts';
import { serialLogOf } from './sim-domain-xml.ts';
import { appendSimSerialLog } from './sim-serial.ts';
import type { SimHost, SimPower } from '@berth/shared/sim/sim-host.ts';

export interface SimConsoles {
  open(uuid: string, force: boolean): Duplex;
  close(): void;
}

/** Between two numbered lines. */
const COUNT_MS = 5;

const isOn = (power: SimPower | undefined): boolean => power === 'running' || power === 'paused';

export function createSimConsoles(host: SimHost, clock: Clock): SimConsoles {
  const open = new Map<string, Duplex>();
  const say = (uuid: string, text: string): void => {
    const d = host.domains.get(uuid);
    const log = d && serialLogOf(d.xml);
    if (log !== undefined) appendSimSerialLog(host, log, text);
    open.get(uuid)?.push(text);
  };
  const count = (uuid: string, from: number, to: number): void => {
    if (from > to || !isOn(host.domains.get(uuid)?.power)) return;
    say(uuid, `line ${from}\r\n`);
    clock.after(COUNT_MS, () => count(uuid, from + 1, to));
  };
  const end = (uuid: string): void => {
    open.get(uuid)?.destroy();
    open.delete(uuid);
  };
  const forget = host.onDomain((uuid) => {
    if (!isOn(host.domains.get(uuid)?.power)) end(uuid);
  });
  return {
    open(uuid, force) {
      const { name, power } = host.get(uuid);
      if (!isOn(power)) throw badState(`domain ${name} is ${power}; it has a console only while it runs`);
      if (open.has(uuid) && !force) throw new ClusterError('RESOURCE_BUSY', consoleTaken(name));
      end(uuid);
      const console = port((text) => {
        say(uuid, `${name}: ${text}`);
        const most = /^count (\d{1,6})/m.exec(text)?.[1];
        if (most !== undefined) count(uuid, 1, Number(most));
      });
      open.set(uuid, console);
      console.once('close', () => {
        if (open.get(uuid) === console) open.delete(uuid);
      });
      return console;
    },
    close() {
      forget();
      for (const uuid of [...open.keys()]) end(uuid);
    },
  };
}

/** Gives each piece that is typed to the guest. */
function port(typed: (text: string) => void): Duplex {
  return new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      typed(chunk.toString());
      done();
    },
    final(done) {
      this.push(null);
      done();
    },
  });
}
