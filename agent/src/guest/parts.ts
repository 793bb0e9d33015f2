/** The parts that know guests from inside, put together. */
import { join } from 'node:path';
import type { Log } from '@berth/shared/log/log.ts';
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Domains } from '../domain/domains.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { Operations } from '../operations/operations.ts';
import { Freezes } from './freezes.ts';
import { GuestRun } from './guest-run.ts';
import { Guests } from './guests.ts';
import { GuestVerbs } from './guest-verbs.ts';

export interface GuestPartsDeps {
  readonly hypervisor: Hypervisor;
  readonly domains: Domains;
  readonly operations: Operations;
  readonly clock: Clock;
  readonly log: Log;
  readonly dataDir: string;
  publish(uuid: string, guest: GuestSeen | undefined): void;
}

export interface GuestParts {
  readonly verbs: GuestVerbs;
  readonly runs: GuestRun;
  start(): Promise<void>;
  stop(): void;
}

export function createGuestParts(deps: GuestPartsDeps): GuestParts {
  const { hypervisor, clock, log } = deps;
  const freezes: Freezes = new Freezes({
    file: join(deps.dataDir, 'guests', 'frozen.json'),
    ...{ clock, log },
    thaw: ({ uuid }) => guests.alone(uuid, () => hypervisor.guests.thaw(uuid)),
    changed: (uuid) => guests.changed(uuid),
  });
  const guests: Guests = new Guests({ ...deps, freezes });
  return {
    verbs: new GuestVerbs({ ...deps, guests, freezes }),
    runs: new GuestRun({ ...deps, guests, freezes }),
    async start() {
      await freezes.start();
      guests.start();
    },
    stop() {
      guests.stop();
      freezes.stop();
    },
  };
}
