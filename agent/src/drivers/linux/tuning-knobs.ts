/** Which settings this kernel has, where they are, and how they stand. Reads only. */
import type { TuningSeen } from '@berth/shared/model/tuning.ts';
import { hugePagesName } from '@berth/shared/tuning/check.ts';
import { unitBytes } from '@berth/shared/units/bytes.ts';
import { readHugePages } from './care-look.ts';
import { parseChoice } from './hugepages.ts';
import type { RootFiles } from './root-files.ts';

export const KERNEL = {
  meminfo: '/proc/meminfo',
  ksm: '/sys/kernel/mm/ksm/run',
  thp: '/sys/kernel/mm/transparent_hugepage/enabled',
  swappiness: '/proc/sys/vm/swappiness',
  hugePages: '/sys/kernel/mm/hugepages',
  block: '/sys/block',
} as const;

export interface Knob {
  readonly seen: TuningSeen;
  readonly path: string;
  /** What the file takes for a value. */
  readonly textOf: (value: string) => string;
  /** Of large pages: their size, and how many are in use. */
  readonly pages?: { readonly sizeBytes: number; readonly used: number };
}

const MOST_DISKS = 240;
const same = (value: string): string => value;

export const readKnobs = async (files: RootFiles): Promise<Knob[]> =>
  [
    await ksm(files),
    await thp(files),
    await swappiness(files),
    ...(await hugePages(files)),
    ...(await schedulers(files)),
  ].filter((k) => k !== undefined);

async function ksm(files: RootFiles): Promise<Knob | undefined> {
  const run = await files.line(KERNEL.ksm);
  if (run === '') return undefined;
  const seen = { name: 'ksm', value: run === '1' ? 'on' : 'off', choices: ['on', 'off'], recommended: 'off' };
  const note = 'merges equal pages of guests: saves memory, costs CPU, and lets guests guess at each other';
  return { seen: { ...seen, note }, path: KERNEL.ksm, textOf: (value) => (value === 'on' ? '1' : '0') };
}

async function thp(files: RootFiles): Promise<Knob | undefined> {
  const choice = parseChoice(await files.line(KERNEL.thp));
  if (choice === undefined) return undefined;
  const { chosen: value, choices } = choice;
  const note = 'QEMU asks for them: madvise is enough';
  return { seen: { name: 'thp', value, choices, recommended: 'madvise', note }, path: KERNEL.thp, textOf: same };
}

async function swappiness(files: RootFiles): Promise<Knob | undefined> {
  const value = await files.line(KERNEL.swappiness);
  if (!/^\d{1,3}$/.test(value)) return undefined;
  const seen = {
    name: 'swappiness',
    value,
    choices: [],
    recommended: '10',
    note: '0 to 200: how soon guests are swapped out',
  };
  return { seen, path: KERNEL.swappiness, textOf: same };
}

async function hugePages(files: RootFiles): Promise<Knob[]> {
  return (await readHugePages(files)).map(({ sizeBytes, total, free }) => ({
    seen: {
      name: hugePagesName(sizeBytes),
      value: String(total),
      choices: [],
      recommended: '',
      note: total > 0 ? `${free} free` : `so many pages of ${unitBytes(sizeBytes)} for VMs that ask for them`,
    },
    path: `${KERNEL.hugePages}/hugepages-${sizeBytes / 1024}kB/nr_hugepages`,
    textOf: same,
    pages: { sizeBytes, used: total - free },
  }));
}

async function schedulers(files: RootFiles): Promise<Knob[]> {
  const knobs: Knob[] = [];
  for (const disk of (await files.names(KERNEL.block)).slice(0, MOST_DISKS)) {
    const path = `${KERNEL.block}/${disk}/queue/scheduler`;
    const choice = parseChoice(await files.line(path));
    // what is made of files or other disks has schedulers too, which nobody tunes
    if (choice === undefined || !(await files.exists(`${KERNEL.block}/${disk}/device`))) continue;
    const rotating = (await files.line(`${KERNEL.block}/${disk}/queue/rotational`)) === '1';
    const best = rotating ? 'mq-deadline' : 'none';
    const recommended = choice.choices.includes(best) ? best : '';
    const note = rotating ? 'a rotating disk' : 'a solid disk';
    const seen = { name: `io-scheduler/${disk}`, value: choice.chosen, choices: choice.choices, recommended, note };
    knobs.push({ seen, path, textOf: same });
  }
  return knobs;
}
