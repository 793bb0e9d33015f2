/** What the job of a rotation asks: the steps are the identity's, how far the hosts are is the keeper's. */
import type { Host } from '@berth/shared/model/host.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { CaRotation } from '../jobs/ca-rotation.ts';
import type { Tables } from '../state/state.ts';
import type { Trust } from './identity.ts';
import type { CertificateKeeper } from './keeper.ts';

export interface RotationDeps {
  readonly trust: Trust;
  readonly keeper: Pick<CertificateKeeper, 'isToldAll' | 'isReissued'>;
  readonly tables: Tables;
  readonly clock: Clock;
}

export function createRotation(d: RotationDeps): CaRotation {
  const enrolled = (): Host[] => [...d.tables.hosts.values()].filter((h) => h.certificateFingerprint !== undefined);
  return {
    begin: (id) => d.trust.beginRotation(id, d.clock.now()),
    abandon: async (id) => d.trust.abandonRotation(id),
    issue: async (id) => d.trust.issueFromNext(id),
    finish: (id) => d.trust.finishRotation(id, d.clock.now()),
    untold: () => {
      const isTold = d.keeper.isToldAll();
      return enrolled()
        .filter((h) => !isTold(h.id))
        .map((h) => h.name);
    },
    unissued: () =>
      enrolled()
        .filter((h) => !d.keeper.isReissued(h.id))
        .map((h) => h.name),
    hurried: () => d.trust.rotation?.hurried ?? false,
  };
}
