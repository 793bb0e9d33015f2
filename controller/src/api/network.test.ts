/** What callers get of networks on many hosts: never more than an answer can hold, and only what they may see. */
import { beforeAll, describe, expect, it } from 'vitest';
import { ListNetworksResponse, type Network as NetworkOnWire } from '@berth/proto/v1/network.ts';
import type { Grant } from '@berth/shared/model/access.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { newId } from '@berth/shared/model/ids.ts';
import type { Network, NetworkSeen } from '@berth/shared/model/network.ts';
import { Access } from '../app/access.ts';
import { NetworksApp } from '../app/networks.ts';
import { enrolledHost, memoryState, newHostId } from '../hosts/testing.ts';
import { aVm } from '../state/samples.ts';
import type { Call } from './call.ts';
import { networkHandlers } from './network.ts';
import { Scope } from './scope.ts';

const HOSTS = 700;
const NETWORKS = 130;
const name = (i: number): string => `h${String(i).padStart(3, '0')}`;
const asking = (selector = ''): Call => {
  const grant: Grant = { role: 'viewer', cluster: '', selector };
  return { user: 'ann', access: new Access([grant]) } as unknown as Call;
};
const network = (i: number): Network => ({
  ...{ id: newId('network', i + 1), name: `n${String(i).padStart(3, '0')}`, state: 'ready', labels: {} },
  shape: { kind: 'isolated', bridge: `br${i}`, addresses: [], dhcpRange: '', stp: false, delaySeconds: 0 },
  ...{ hosts: { all: true, ids: [], selector: '' }, generation: 1, createdAtMs: 1 },
});

let handlers: ReturnType<typeof networkHandlers>;

beforeAll(async () => {
  const state = await memoryState();
  const all = Array.from({ length: NETWORKS }, (_, i) => network(i));
  const broken = new Set<HostId>();
  await state.update((tx) => {
    all.forEach((n) => tx.networks.put(n));
    for (let i = 0; i < HOSTS; i++) {
      const host = enrolledHost({ id: newHostId(), name: name(i), address: `${name(i)}:7444` });
      tx.hosts.put({ ...host, labels: i < 10 ? { rack: 'r1' } : {} });
      if (i >= HOSTS - 3) broken.add(host.id);
    }
    for (let i = 0; i < 600; i++) {
      const vm = aVm({ name: `vm${i}` });
      const nics = [{ ...vm.spec.nics[0], networkId: all[0]!.id }] as unknown as typeof vm.spec.nics;
      tx.vms.put({ ...vm, spec: { ...vm.spec, nics } });
    }
  });
  const seen = (n: Network): NetworkSeen => ({
    ...{ networkId: n.id, name: n.name, uuid: '', kind: 'isolated', bridge: n.shape.bridge, state: 'active' },
    ...{ reason: '', addresses: [], generation: 1 },
  });
  const networks = [...all.map(seen), { ...seen(all[0]!), networkId: '', name: 'default' }];
  const bridges = all.map((n) => ({ name: n.shape.bridge, up: true, addresses: [], owned: true, ports: [] }));
  const up = { state: 'up', complete: new Set(['bridges', 'networks']), facts: { capabilities: ['networks'] } };
  const status = (id: HostId) => ({ ...up, bridges, networks: broken.has(id) ? [] : networks });
  const app = new NetworksApp({ state, hosts: { status } } as unknown as ConstructorParameters<typeof NetworksApp>[0]);
  handlers = networkHandlers(app, state.tables, new Scope(state.tables, () => Promise.reject(new Error('no jobs'))));
});

const list = (pageToken = '', foreign = false, call = asking()) =>
  handlers.listNetworks({ page: { pageSize: 5000, pageToken }, foreign }, call) as Promise<ListNetworksResponse>;
const get = (call = asking()) => handlers.getNetwork({ network: 'n000' }, call) as Promise<NetworkOnWire>;

describe('networks on many hosts', () => {
  it('are listed in pages that name no host and no vm, and count them', async () => {
    const first = await list();
    expect(first.networks).toHaveLength(100);
    expect(first.networks[0]).toMatchObject({
      ...{ name: 'n000', hostCount: 700, activeCount: 697, vmCount: 600, onHosts: [], vms: [] },
    });
    expect(ListNetworksResponse.encode(first).finish().length).toBeLessThan(20_000);
    const second = await list(first.nextPageToken);
    expect([second.networks.length, second.nextPageToken]).toEqual([30, '']);
  });

  it('are shown with the hosts that lack them first, and with no more than 500', async () => {
    const n = await get();
    expect([n.hostCount, n.activeCount, n.vmCount]).toEqual([700, 697, 600]);
    expect([n.onHosts.length, n.vms.length]).toEqual([500, 500]);
    expect(n.onHosts.slice(0, 4).map((h) => `${h.host} ${h.state}`)).toEqual([
      ...['h697 absent', 'h698 absent', 'h699 absent', 'h000 active'],
    ]);
  });

  it('are counted as far as the caller may see', async () => {
    const ann = asking('rack=r1');
    expect((await list('', false, ann)).networks[0]).toMatchObject({ hostCount: 10, activeCount: 10, vmCount: 0 });
    expect(await get(ann)).toMatchObject({ hostCount: 10, activeCount: 10, vmCount: 0 });
  });

  it('of others come in pages of hosts, and alone', async () => {
    const first = await handlers.listNetworks({ page: { pageSize: 400, pageToken: '' }, foreign: true }, asking());
    expect([first.networks, first.foreign?.length]).toEqual([[], 400]);
    const second = await list(first.nextPageToken, true);
    expect([second.foreign.length, second.foreign[0]?.host, second.nextPageToken]).toEqual([297, 'h400', '']);
  });
});
