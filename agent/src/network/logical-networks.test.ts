/** Logical networks of an agent over a simulated host: twice is once, what is refused, what is missing later, and who owns what. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import type { NetworkShape } from '@berth/shared/model/network.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { Ledger } from '../operations/ledger.ts';
import { Operations } from '../operations/operations.ts';
import { LogicalNetworks } from './logical-networks.ts';
import type { NetworkSpec } from './network-spec.ts';
import { networkUuid, networkXml } from './network-xml.ts';

const log = createLog('test', 'silent');
const shape = (over: Partial<NetworkShape> = {}): NetworkShape => ({
  ...{ kind: 'nat', bridge: 'vbr', addresses: ['192.168.100.254/24'], stp: false, delaySeconds: 0 },
  dhcpRange: '192.168.100.128-192.168.100.200',
  ...over,
});
const nat = (over: Partial<NetworkSpec> = {}, of: Partial<NetworkShape> = {}): NetworkSpec => ({
  ...{ networkId: 'network-1', name: 'vbr', shape: shape(of), generation: 1 },
  ...over,
});
const isolated = (addresses: readonly string[] = ['10.9.0.1/24'], over: Partial<NetworkSpec> = {}): NetworkSpec => ({
  ...{ networkId: 'network-2', name: 'lan', generation: 1 },
  shape: shape({ kind: 'isolated', bridge: 'lan', addresses, dhcpRange: '' }),
  ...over,
});

class Host {
  readonly clock = new SimClock();
  ops = 0;
  ledger!: Ledger;
  logical!: LogicalNetworks;
  constructor(
    readonly dir: string,
    readonly drivers: SimDrivers,
  ) {}
  async open(): Promise<this> {
    await this.ledger?.close();
    this.ledger = await Ledger.open(this.dir, { clock: this.clock, log });
    const operations = new Operations(this.ledger, this.clock, log);
    const at = { operations, clock: this.clock, log, dataDir: this.dir, hostName: 'h1' };
    this.logical = new LogicalNetworks({ ...at, bridges: this.drivers.bridges, networks: this.drivers.networks });
    this.operations = operations;
    await this.logical.store.load();
    return this;
  }
  operations!: Operations;
  async ensure(s: NetworkSpec): Promise<void> {
    const { failure } = await this.operations.run(this.logical.ensure, `op-${++this.ops}`, s);
    if (failure) throw Object.assign(new Error(failure.message), { reason: failure.reason });
  }
  async remove(id = 'network-1'): Promise<void> {
    const { failure } = await this.operations.run(this.logical.remove, `op-${++this.ops}`, id);
    if (failure) throw Object.assign(new Error(failure.message), { reason: failure.reason });
  }
}

let open: Host[] = [];
async function host(): Promise<Host> {
  const dir = await mkdtemp(join(tmpdir(), 'networks-'));
  const h = new Host(dir, createSimDrivers({ name: 'h1', runDir: dir, clock: new SimClock() }));
  open.push(h);
  return h.open();
}
afterEach(async () => {
  for (const h of open) {
    await h.ledger.close();
    await rm(h.dir, { recursive: true, force: true });
  }
  open = [];
});
/** A network of libvirt's that somebody else made. */
const foreign = (h: Host, name: string, bridge: string, cidr: string, active = true) => {
  const [address, prefix] = cidr.split('/');
  const xml = `<network><name>${name}</name><forward mode="nat"/><bridge name="${bridge}"/><ip address="${address}" prefix="${prefix}"/></network>`;
  h.drivers.networks.networks.set(`u-${name}`, { name, xml, active });
};

/** Making ends in an error when all is there, and nothing can be removed, until it is mended. */
const breakHalfway = (h: Host, why: string): { mend(): void } => {
  const { bridges, networks } = h.drivers;
  const real = { ensure: bridges.ensure, remove: bridges.remove, start: networks.start, stop: networks.stop };
  const stuck = () => Promise.reject(badState('cannot be removed'));
  const halfway =
    <A extends readonly unknown[]>(of: (...a: A) => Promise<void>) =>
    async (...a: A): Promise<void> => {
      await of(...a);
      throw badState(why);
    };
  Object.assign(bridges, { ensure: halfway(real.ensure.bind(bridges)), remove: stuck });
  Object.assign(networks, { start: halfway(real.start.bind(networks)), stop: stuck });
  const { ensure, remove, start, stop } = real;
  return { mend: () => (Object.assign(bridges, { ensure, remove }), Object.assign(networks, { start, stop })) };
};

describe('a logical network of a host', () => {
  it('is made once, however often it is asked for, and removed with all that was made', async () => {
    const h = await host();
    await h.ensure(nat());
    await h.ensure(nat());
    await h.ensure(isolated());
    expect([...h.drivers.networks.networks.keys()]).toEqual([networkUuid('network-1')]);
    expect(h.drivers.networks.networks.get(networkUuid('network-1'))?.xml).toBe(networkXml(nat()));
    expect(await h.logical.observe()).toMatchObject([
      { networkId: 'network-1', kind: 'nat', state: 'active', bridge: 'vbr', generation: 1 },
      { networkId: 'network-2', kind: 'isolated', state: 'active', addresses: ['10.9.0.1/24'] },
    ]);
    for (const id of ['network-1', 'network-2', 'network-2']) await h.remove(id);
    expect(await h.logical.observe()).toEqual([]);
    expect([...h.drivers.sim.bridges.keys()]).toEqual(['br0']);
    expect(await readdir(join(h.dir, 'networks'))).toEqual([]);
  });

  it('gets other addresses where it is isolated, and stays what it is', async () => {
    const h = await host();
    await h.ensure(isolated());
    await h.ensure(isolated(['10.9.1.1/24'], { generation: 2 }));
    expect(await h.logical.observe()).toMatchObject([{ generation: 2, addresses: ['10.9.1.1/24'] }]);
    await expect(h.ensure(nat({ networkId: 'network-2' }))).rejects.toMatchObject({ reason: 'BAD_STATE' });
  });

  it('is made again when it is missing: after a restart, a boot, or what somebody did by hand', async () => {
    const h = await host();
    await h.ensure(nat());
    await h.ensure(isolated());
    await h.drivers.networks.stop(networkUuid('network-1'));
    h.drivers.sim.bridges.delete('lan');
    await h.open();
    expect(await h.logical.observe()).toMatchObject([{ state: 'active' }, { state: 'active' }]);
    await h.drivers.networks.stop(networkUuid('network-1'));
    await h.drivers.networks.undefine(networkUuid('network-1'));
    expect(await h.logical.observe()).toMatchObject([{ state: 'active' }, { state: 'active' }]);
  });

  it('tells why it is not there, and tries again later and not at once', async () => {
    const h = await host();
    await h.ensure(nat());
    await h.drivers.networks.stop(networkUuid('network-1'));
    h.drivers.networks.fault = 'dnsmasq is not installed';
    expect(await h.logical.observe()).toMatchObject([{ state: 'failed', reason: 'dnsmasq is not installed' }]);
    h.drivers.networks.fault = undefined;
    expect(await h.logical.observe()).toMatchObject([{ state: 'failed' }]);
    await h.clock.advance(6_000);
    expect(await h.logical.observe()).toMatchObject([{ state: 'active', reason: '' }]);
  });

  it.each(['isolated', 'nat'])(
    '%s, half made and not to be taken back, is remembered until it is gone',
    async (kind) => {
      const h = await host();
      const spec = kind === 'nat' ? nat() : isolated();
      const half = breakHalfway(h, 'no room');
      await expect(h.ensure(spec)).rejects.toThrow('no room');
      await h.open();
      expect(await h.logical.observe()).toMatchObject([
        { networkId: spec.networkId, state: 'failed', reason: 'cannot be removed', generation: 0 },
      ]);
      half.mend();
      expect(h.logical.store.all()).toEqual([]);
      await h.clock.advance(6_000);
      expect(await h.logical.observe()).toEqual([]);
      expect([h.drivers.networks.networks.size, h.drivers.sim.bridges.has(spec.shape.bridge)]).toEqual([0, false]);
      expect(await readdir(join(h.dir, 'networks'))).toEqual([]);
      await h.ensure(spec);
      expect(await h.logical.observe()).toMatchObject([{ state: 'active', generation: 1 }]);
    },
  );

  it('that could not be taken back goes when its removal is asked for, and before it is made anew', async () => {
    const h = await host();
    const half = breakHalfway(h, 'no room');
    await expect(h.ensure(isolated())).rejects.toThrow('no room');
    await expect(h.remove('network-2')).rejects.toThrow('cannot be removed');
    await expect(h.ensure(isolated())).rejects.toThrow('cannot be removed');
    half.mend();
    await h.remove('network-2');
    expect([h.logical.store.leaving(), h.drivers.sim.bridges.has('lan')]).toEqual([[], false]);
  });

  it('leaves nothing behind when it cannot be made', async () => {
    const h = await host();
    h.drivers.networks.fault = 'no more';
    await expect(h.ensure(nat())).rejects.toThrow('no more');
    expect(h.drivers.networks.networks.size).toBe(0);
    expect(h.logical.store.all()).toEqual([]);
  });

  it('leaves networks and bridges of others alone, and shows them', async () => {
    const h = await host();
    foreign(h, 'default', 'virbr0', '192.168.122.1/24');
    await expect(h.ensure(nat({ name: 'default' }))).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
    await expect(h.ensure(nat({}, { bridge: 'virbr0' }))).rejects.toThrow('is that of network default');
    await expect(h.ensure(nat({}, { bridge: 'br0' }))).rejects.toThrow('Berth did not make it');
    await expect(h.ensure(nat({}, { bridge: 'eth0' }))).rejects.toThrow('Berth did not make it');
    await expect(h.ensure(isolated([], { shape: { ...isolated([]).shape, bridge: 'br0' } }))).rejects.toThrow(
      '--bridge br0 alone',
    );
    expect(await h.logical.observe()).toEqual([
      {
        ...{ networkId: '', name: 'default', uuid: 'u-default', kind: 'nat', bridge: 'virbr0', state: 'active' },
        ...{ reason: '', addresses: ['192.168.122.1/24'], generation: 0 },
      },
    ]);
    await h.remove('network-7');
    expect(h.drivers.networks.networks.has('u-default')).toBe(true);
  });

  it('has no addresses that the host, another network or a route has already, up or not', async () => {
    const h = await host();
    foreign(h, 'other', 'virbr9', '172.30.0.1/16', false);
    await h.ensure(isolated());
    const asked = (cidr: string) => h.ensure(nat({}, { addresses: [cidr], dhcpRange: '' }));
    await expect(asked('10.77.0.5/16')).rejects.toThrow('10.77.0.5/16 overlaps with address 10.77.0.1/24 of br0 on h1');
    await expect(asked('172.30.9.1/24')).rejects.toThrow("172.30.0.1/16 of libvirt's network other");
    await expect(asked('10.9.0.129/25')).rejects.toThrow('overlaps');
    await expect(h.ensure(nat({}, { bridge: 'lan' }))).rejects.toThrow('is that of network lan');
    expect(h.logical.store.all()).toHaveLength(1);
  });

  it('stays while something is plugged into it', async () => {
    const h = await host();
    await h.ensure(nat());
    const list = h.drivers.bridges.list;
    Object.assign(h.drivers.bridges, {
      list: async () => (await list()).map((b) => (b.name === 'vbr' ? { ...b, ports: ['vnet0'] } : b)),
    });
    await expect(h.remove()).rejects.toMatchObject({ reason: 'IN_USE' });
    expect(await h.logical.observe()).toMatchObject([{ state: 'active' }]);
    Object.assign(h.drivers.bridges, { list });
    await h.remove();
    expect(await h.logical.observe()).toEqual([]);
  });

  it('is known again by its definition when the agent has lost what it remembered', async () => {
    const h = await host();
    await h.ensure(nat());
    await rm(join(h.dir, 'networks'), { recursive: true });
    await h.open();
    expect(await h.logical.observe()).toMatchObject([{ networkId: 'network-1', generation: 0 }]);
    await h.ensure(nat());
    expect(await h.logical.observe()).toMatchObject([{ networkId: 'network-1', generation: 1 }]);
    await writeFile(join(h.dir, 'networks', 'network-1.json'), '{"version":1,"spec":{}}');
    await h.open();
    await h.remove();
    expect(h.drivers.networks.networks.size).toBe(0);
  });

  it('is not known while libvirt is away', async () => {
    const h = await host();
    await h.ensure(nat());
    h.drivers.networks.away = true;
    await expect(h.logical.observe()).rejects.toMatchObject({ reason: 'HYPERVISOR_UNAVAILABLE' });
  });
});
