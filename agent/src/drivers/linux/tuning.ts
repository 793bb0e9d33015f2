/**
 * The kernel's settings that a host of VMs cares for, read from and written to sysfs and procfs. Everything is checked before
 * the first write, and a write that does not hold takes all of them back. Which are wanted is the controller's to say.
 */
import { badState, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Tuning, TuningSeen } from '@berth/shared/model/tuning.ts';
import type { TuningDriver } from '../machine.ts';
import { parseMemory } from './procfs.ts';
import type { RootFiles } from './root-files.ts';
import { KERNEL, readKnobs } from './tuning-knobs.ts';
import { planTuning, type Step } from './tuning-plan.ts';

/** Writes one of the kernel's files. */
export type WriteKernel = (path: string, text: string) => Promise<void>;

export function createTuning(files: RootFiles, write: WriteKernel): TuningDriver {
  const read = async (): Promise<TuningSeen[]> => (await readKnobs(files)).map((k) => k.seen);
  return {
    read,
    async ensure(wanted: Tuning): Promise<void> {
      const knobs = await readKnobs(files);
      const { availableBytes } = parseMemory(await files.all(KERNEL.meminfo));
      const done: Step[] = [];
      try {
        for (const step of planTuning(knobs, wanted, availableBytes)) {
          done.push(step);
          await write(step.path, step.text);
          await insistItHolds(files, step);
        }
      } catch (e) {
        for (const step of done.reverse()) await write(step.path, step.before).catch(() => undefined);
        if (isClusterError(e)) throw e;
        throw cannotWrite(done[0], e);
      }
    },
  };
}

/** The kernel takes a number of pages and then makes as many as it can. */
async function insistItHolds(files: RootFiles, step: Step): Promise<void> {
  const now = (await readKnobs(files)).find((k) => k.seen.name === step.name)?.seen.value ?? 'nothing';
  if (now === step.value) return;
  if (!step.name.startsWith('hugepages/'))
    throw badState(`${step.name} stays ${now} on this host, whatever is written`);
  throw badState(
    `${step.name}: this host could make ${now} pages of ${step.value}, because its memory is in pieces: try again after a reboot, or with fewer`,
  );
}

function cannotWrite(step: Step | undefined, e: unknown): Error {
  const { code = '' } = e as NodeJS.ErrnoException;
  const why = /^(EROFS|EACCES|EPERM)$/.test(code) ? `${step?.path} is read-only there` : (e as Error).message;
  return badState(`this host does not let its agent set ${step?.name ?? 'anything'}: ${why}`, {}, e);
}
