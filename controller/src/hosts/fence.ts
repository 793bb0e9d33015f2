/** Who calls: travels on every changing call, so that a controller on a copied or stale database cannot command hosts. */
import type { Fence } from '@berth/proto/agent/v1/operation.ts';
import type { State } from '../state/state.ts';

export type FenceSource = () => Fence;

export function createFence(state: State, runId: string): FenceSource {
  return () => ({
    installationId: state.installationId,
    controllerEpoch: BigInt(state.epoch),
    revision: BigInt(state.durableRevision),
    runId,
  });
}
