/** The kernel's settings of a simulated host: kept in memory, gone with the agent as a real host's are with a reboot. */
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { LargePages } from '@berth/shared/model/host.ts';
import { pageBytesOf, type Tuning, type TuningSeen } from '@berth/shared/model/tuning.ts';
import type { SimHostOptions } from '@berth/shared/sim/sim-host.ts';
import type { TuningDriver } from '../machine.ts';

const FRESH: readonly TuningSeen[] = [
  { name: 'ksm', value: 'off', choices: ['on', 'off'], recommended: 'off', note: '' },
  { name: 'thp', value: 'madvise', choices: ['always', 'madvise', 'never'], recommended: 'madvise', note: '' },
  { name: 'swappiness', value: '60', choices: [], recommended: '10', note: '' },
  { name: 'hugepages/2MiB', value: '0', choices: [], recommended: '', note: '' },
  { name: 'io-scheduler/sda', value: 'none', choices: ['none', 'mq-deadline'], recommended: 'none', note: '' },
];

export function createSimTuning(options: SimHostOptions): TuningDriver & { largePages(): readonly LargePages[] } {
  let settings = FRESH;
  const pages = (all: readonly TuningSeen[]): LargePages[] =>
    all.flatMap(({ name, value }) => {
      const sizeBytes = pageBytesOf(name);
      return sizeBytes === undefined ? [] : [{ sizeBytes, total: Number(value), free: Number(value) }];
    });
  return {
    read: async () => settings,
    largePages: () => pages(settings),
    async ensure(wanted: Tuning) {
      for (const [name, value] of Object.entries(wanted)) {
        const { choices } = settings.find((s) => s.name === name) ?? {};
        if (choices === undefined) throw invalidArgument(`this host has no setting ${name}`);
        if (choices.length > 0 && !choices.includes(value))
          throw invalidArgument(`${name} cannot be ${value} on this host: it takes ${choices.join(', ')}`);
      }
      const next = settings.map((s) => ({ ...s, value: wanted[s.name] ?? s.value }));
      if (pages(next).reduce((sum, p) => sum + p.sizeBytes * p.total, 0) > options.memoryBytes / 2)
        throw badState('large pages would take more than half of this host');
      settings = next;
    },
  };
}
