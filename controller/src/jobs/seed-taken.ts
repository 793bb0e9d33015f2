/**
 * When a guest's seed has done its work: it is then taken out at the next start, and removed, for it tells a name and keys, and a
 * guest that finds it under another name would believe it again. Pure.
 */
import type { VolumeId } from '@berth/shared/model/ids.ts';
import type { Vm, VmObserved } from '@berth/shared/model/vm.ts';

/** A guest that did not read it in so long a time never will. */
const LONGEST_FIRST_BOOT_MS = 10 * 60_000;

/**
 * The seed that a start leaves out: the guest has shut down in order since it was first started, which it does only when it is up, or
 * that was long ago. A guest whose plug was pulled earlier gets it again. Undefined: none, or it is still needed.
 */
export function seedTaken(vm: Vm, observed: VmObserved | undefined, nowMs: number): VolumeId | undefined {
  const { seedVolumeId } = vm.spec;
  if (seedVolumeId === undefined || vm.firstBootAtMs === undefined) return undefined;
  // a guest that goes back to its memory of then has it
  if (vm.snapshots?.some((s) => s.memory)) return undefined;
  const inOrder = observed?.power === 'stopped' && observed.reason === 'shutdown';
  return inOrder || nowMs - vm.firstBootAtMs >= LONGEST_FIRST_BOOT_MS ? seedVolumeId : undefined;
}

export const withoutSeed = (vm: Vm): Vm => ({ ...vm, spec: { ...vm.spec, seedVolumeId: undefined } });
