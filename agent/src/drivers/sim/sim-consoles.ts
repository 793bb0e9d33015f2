/**
 * Serial consoles of simulated guests: one reader at a time, and over when the guest is. What such a guest answers is its
 * name before each line; what it prints at boot goes to its serial log, not here.
 */
import { Duplex } from 'node:stream';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { consoleTaken } from '../hypervisor.ts';
import type { SimHost, SimPower } from '@berth/shared/sim/sim-host.ts';

export interface SimConsoles {
  open(uuid: string, force: boolean): Duplex;
  close(): void;
}

const isOn = (power: SimPower | undefined): boolean => power === 'running' || power === 'paused';

export function createSimConsoles(host: SimHost): SimConsoles {
  const open = new Map<string, Duplex>();
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
      const console = echo(name);
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

/** Answers each line with the guest's name. */
function echo(name: string): Duplex {
  return new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      this.push(`${name}: ${chunk.toString()}`);
      done();
    },
    final(done) {
      this.push(null);
      done();
    },
  });
}
