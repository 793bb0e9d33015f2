/** What those who act on VMs work with, and what they answer. Types only. */
import type { JobId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Random } from '@berth/shared/runtime/random.ts';
import type { Guests } from '../guests/guests.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import type { WorldView } from '../jobs/world.ts';
import type { State } from '../state/state.ts';
import type { VmView } from './vm-view.ts';

export interface VmDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly random: Random;
  readonly world: WorldView;
  /** Only the built-in ones when there are none. */
  readonly guests?: Guests;
}

export interface VmAnswer {
  readonly view: VmView;
  /** Undefined when nothing had to be done, and for a dry run. */
  readonly jobId: JobId | undefined;
}
