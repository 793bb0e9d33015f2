/** The jobs of logical networks under the harness: twice is once, crashes and failures anywhere. */
import { describe, expect, it } from 'vitest';
import { ClusterWorld } from '../../../test/harness/cluster-world.ts';
import { checkJob, type Adversary } from '../../../test/harness/job-harness.ts';
import { aNetwork } from '../state/samples.ts';
import { networkChange, networkCreate, networkMend, networkRemove } from './networks.ts';
import { withoutHalfMade, worldOf } from './testing.ts';

/** What was made on some hosts stays, or is made again when it is looked at. */
const withoutNetworks = (raw: unknown): unknown => {
  const s = raw as { hosts: { networks?: unknown }[] };
  for (const host of s.hosts) delete host.networks;
  return s;
};

const onNetwork = (state: 'creating' | 'ready', there: boolean) => (adversary: Adversary) => {
  const cluster = new ClusterWorld(adversary);
  const network = aNetwork({ state });
  if (there)
    for (const i of [0, 1] as const) cluster.fake(i).networksHere.set(network.id, { bridge: 'lan', generation: 0 });
  const params = { networkId: network.id, hostIds: [cluster.hosts[0].id, cluster.hosts[1].id] };
  return worldOf(cluster, params, (tx) => tx.networks.put(network), there ? withoutNetworks : withoutHalfMade);
};

describe('each job of networks keeps the promises of jobs', () => {
  it('network.create', async () => {
    expect((await checkJob(networkCreate, onNetwork('creating', false))).runs).toBeGreaterThan(50);
  });

  it('network.change and network.mend', async () => {
    await checkJob(networkChange, onNetwork('ready', true));
    await checkJob(networkMend, onNetwork('ready', true));
  });

  it('network.remove', async () => {
    await checkJob(networkRemove, onNetwork('ready', true));
  });
});
