/** The jobs of logical networks under the harness: twice is once, crashes and failures anywhere. */
import { describe, expect, it } from 'vitest';
import { newId, type HostId } from '@berth/shared/model/ids.ts';
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

describe('a network that many hosts get', () => {
  it('is asked for once of each host, however often is looked whether they tell of it', async () => {
    const network = aNetwork({ state: 'creating' });
    const hostIds = [newId('host', 1), newId('host', 2), newId('host', 3)];
    const asked: string[] = [];
    let slow = true;
    let told = false;
    const ensure = (hostId: HostId) => async (id: string) => {
      asked.push(hostId);
      return { id, state: slow && hostId === hostIds[2] ? 'running' : 'succeeded', totalBytes: 0, doneBytes: 0 };
    };
    const seen = { networks: [{ networkId: network.id, generation: 9 }], bridges: [{ name: network.shape.bridge }] };
    const hosts = {
      agent: (id: HostId) => ({ networks: { ensure: ensure(id) } }),
      status: () => (told ? seen : { networks: [], bridges: [] }),
    };
    const step = networkMend.steps.find((s) => s.name === 'hosts');
    const notes = new Map();
    const look = (attempt: number): Promise<unknown> => {
      const at = { tables: { networks: new Map([[network.id, network]]) }, params: { networkId: network.id, hostIds } };
      return step?.run({ ...at, deps: { hosts }, opId: 'job-1.hosts', attempt, notes } as never) as Promise<unknown>;
    };
    await look(0);
    expect(asked).toEqual(hostIds);
    slow = false;
    await look(1);
    expect(asked).toEqual([...hostIds, hostIds[2]]);
    await look(2);
    told = true;
    expect(await look(3)).toEqual({ away: [] });
    expect(asked).toHaveLength(4);
  });
});
