import { beforeEach, describe, expect, it } from 'vitest';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { WorkedOutCpu } from '@berth/shared/model/cpu.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { createSimCpus } from '@berth/shared/sim/sim-cpus.ts';
import { enrolledHost, memoryState, newHostId } from '../hosts/testing.ts';
import { aVm } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import { facts } from '../../../test/harness/world-builder.ts';
import { ClusterApp, type ClusterDeps } from './cluster.ts';

let state: State;
let cluster: ClusterApp;
/** By their names: the CPU of each, or none that is told. */
let models: Record<string, string | undefined>;
let hosts: Map<HostId, Host>;
let down: Set<string>;
let asked: number;

beforeEach(async () => {
  state = await memoryState();
  models = { old: 'Westmere', new: 'Skylake-Client' };
  hosts = new Map();
  down = new Set();
  asked = 0;
  for (const name of Object.keys(models)) await addHost(name);
  const deps = {
    status: (id: HostId) => {
      const name = hosts.get(id)!.name;
      const model = models[name];
      const cpu = model === undefined ? undefined : KNOWN.get(model);
      return { state: down.has(name) ? 'unreachable' : 'up', facts: facts({ ...(cpu && { cpu }) }) };
    },
    agent: () => ({
      machine: {
        baselineCpu: async (cpus: readonly WorkedOutCpu[]) => {
          asked++;
          return createSimCpus().baseline(cpus);
        },
      },
    }),
  } as unknown as ClusterDeps['hosts'];
  cluster = new ClusterApp({ state, hosts: deps, clock: new SimClock() });
});

const KNOWN = new Map(
  await Promise.all(
    ['Nehalem', 'Westmere', 'Skylake-Client'].map(async (m) => [m, await createSimCpus(m).host()] as const),
  ),
);

async function addHost(name: string, over: Partial<Host> = {}): Promise<void> {
  const host = { ...enrolledHost({ id: newHostId(), name, address: `${name}:7444` }), ...over };
  hosts.set(host.id, host);
  await state.update((tx) => tx.hosts.put(host));
}
const set = (cpu: string, dryRun = false) => cluster.setCpu(cpu, dryRun);
const refusal = async (cpu: string): Promise<string> => {
  const e = (await set(cpu).catch((x: unknown) => x)) as { reason?: string; message?: string };
  return `${e.reason}: ${e.message}`;
};
const now = () => state.tables.clusters.get('default')?.cpu;

describe('the CPU of a cluster', () => {
  it('set to auto is the most that all hosts have', async () => {
    expect((await set('auto')).cpu).toMatchObject({ asked: 'auto', model: 'Westmere' });
    expect(now()).toMatchObject({ model: 'Westmere', models: ['qemu64', 'Nehalem', 'Westmere'] });
  });

  it('can be a lesser one, and none again', async () => {
    await set('Nehalem');
    expect(now()?.model).toBe('Nehalem');
    await set('none');
    expect(now()).toBeUndefined();
    expect(asked).toBe(1);
  });

  it('is refused where a host has less, by its name, unless that is being drained', async () => {
    expect(await refusal('Skylake-Client')).toMatch(
      /^BAD_STATE: .*cannot have it on host old \(avx, avx2, mpx, xsavec\)/,
    );
    expect(now()).toBeUndefined();
    const old = state.tables.hosts.byName('old')!;
    await state.update((tx) => tx.hosts.put({ ...old, maintenance: true }));
    await set('Skylake-Client');
    expect(now()?.model).toBe('Skylake-Client');
  });

  it('is refused while the agent of a host is too old to tell of its CPU: no VM could be started there any more', async () => {
    models['older'] = undefined;
    await addHost('older');
    expect(await refusal('auto')).toMatch(/^BAD_STATE: .*host older does not tell which CPU .*upgrade its agent/);
    expect(now()).toBeUndefined();
    const older = state.tables.hosts.byName('older')!;
    await state.update((tx) => tx.hosts.put({ ...older, maintenance: true }));
    await set('auto');
    expect(now()?.model).toBe('Westmere');
  });

  it('is refused where a VM asks for more, by its name', async () => {
    const vm = aVm({ name: 'web' });
    const cpu = { mode: 'custom', model: 'Westmere' } as const;
    await state.update((tx) =>
      tx.vms.put({ ...vm, hostId: undefined, spec: { ...vm.spec, disks: [], hardware: { cpu } } }),
    );
    expect(await refusal('Nehalem')).toMatch(/^BAD_STATE: .*vm web asks for more: .*berth vm edit/);
    await set('Westmere');
  });

  it('is only told of in a dry run', async () => {
    expect((await set('auto', true)).cpu?.model).toBe('Westmere');
    expect(now()).toBeUndefined();
  });

  it('that nobody knows, or nobody can be asked about, is refused', async () => {
    expect(await refusal('Pentium Pro')).toMatch(/^INVALID_ARGUMENT: cpu must be auto, none/);
    expect(await refusal('Imaginary')).toMatch(/^INVALID_ARGUMENT: cpu Imaginary: host old does not know it/);
    down = new Set(['old', 'new']);
    expect(await refusal('auto')).toMatch(/^HOST_UNREACHABLE/);
    models = {};
    down = new Set();
    expect(await refusal('auto')).toMatch(/^HOST_UNREACHABLE/);
  });

  it('shows which hosts lack what, also those that came later', async () => {
    await set('Westmere');
    models['late'] = 'Nehalem';
    await addHost('late');
    const lacking = (await cluster.get()).hosts.map((h) => [h.host.name, h.lacking]);
    expect(Object.fromEntries(lacking)).toEqual({ old: [], new: [], late: ['aes'] });
  });
});
