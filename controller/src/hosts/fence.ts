/** Who calls: travels on every changing call, so that a controller on a copied or stale database cannot command hosts. */
import type { Fence } from '@berth/proto/agent/v1/operation.ts';
import type { State } from '../state/state.ts';

export interface FenceSource {
  (): Fence;
  /** For Watch, with which a run introduces itself to a host. */
  introduce(): Fence;
}

export function createFence(state: State, runId: string, formerRunIds: readonly string[]): FenceSource {
  const fence = (): Fence => ({
    installationId: state.installationId,
    controllerEpoch: BigInt(state.epoch),
    revision: BigInt(state.durableRevision),
    runId,
    formerRunIds: [],
  });
  return Object.assign(fence, { introduce: () => ({ ...fence(), formerRunIds: [...formerRunIds] }) });
}
