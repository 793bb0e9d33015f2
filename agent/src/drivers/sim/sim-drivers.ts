/** Simulated drivers for one agent: the same interfaces as the real ones, over a SimHost. No root, no libvirt, no disk. */
import type { HostCheck } from '@berth/shared/model/host.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { SimHost, type SimHostOptions } from '@berth/shared/sim/sim-host.ts';
import type { Bridges, Drivers, Machine, MachineCounters } from '../machine.ts';
import { LogRing } from '@berth/shared/log/ring.ts';
import type { Means } from '../means.ts';
import { createSimDisks } from './sim-disks.ts';
import { createSimGuestDisks } from './sim-guest-disks.ts';
import { createSimLogs } from './sim-logs.ts';
import { createSimHypervisor } from './sim-hypervisor.ts';
import { createSimStorage, type SimStorage } from './sim-storage.ts';
import { createSimVirtualNetworks, type SimVirtualNetworks } from './sim-virtual-networks.ts';
import { createSimTuning } from './sim-tuning.ts';
import { simInventory } from './sim-inventory.ts';

export interface SimDrivers extends Drivers {
  /** The host behind the drivers, for tests that look or break. */
  readonly sim: SimHost;
  readonly storage: SimStorage;
  readonly networks: SimVirtualNetworks;
  close(): Promise<void>;
}

const DEFAULTS: Omit<SimHostOptions, 'name'> = {
  cpuThreads: 8,
  memoryBytes: 16 * 2 ** 30,
  diskBytes: 200 * 2 ** 30,
  bootMs: 200,
};

export function createSimDrivers(
  o: { name: string; runDir: string; clock: Clock; ring?: LogRing } & Partial<SimHostOptions>,
): SimDrivers {
  const { runDir, clock, ring = new LogRing(), ...options } = o;
  const sim = new SimHost({ ...DEFAULTS, ...options }, clock);
  const disks = createSimDisks({ host: sim, clock, runDir });
  return {
    sim,
    means: createSimMeans(sim),
    hypervisor: createSimHypervisor(sim, clock),
    disks,
    guestDisks: createSimGuestDisks(sim, clock),
    machine: createSimMachine(sim, clock),
    bridges: createSimBridges(sim),
    logs: createSimLogs(sim, ring),
    storage: createSimStorage(),
    networks: createSimVirtualNetworks(sim),
    close: () => disks.close(),
  };
}

function createSimMachine(sim: SimHost, clock: Clock): Machine {
  const bootedAtMs = clock.monotonic();
  const checks: readonly HostCheck[] = [
    { name: 'simulated', ok: true, detail: 'this host is simulated; its guests are not real', fatal: false },
  ];
  const tuning = createSimTuning(sim.options);
  const running = () => [...sim.domains.values()].filter((d) => d.power === 'running').length;
  return {
    facts: async () => ({
      hostname: sim.options.name,
      os: 'Simulated',
      kernel: '0.0',
      cpuModel: 'Simulated',
      cpuThreads: sim.options.cpuThreads,
      memoryBytes: sim.options.memoryBytes,
      bootId: `simulated-${sim.options.name}`,
    }),
    checks: async () => checks,
    nameChecks: async (others) => [
      { name: 'other-names', ok: true, detail: `${others.length} names asked for; none is looked up`, fatal: false },
    ],
    largePages: async () => tuning.largePages(),
    tuning,
    inventory: async () => simInventory(sim),
    load: async () => ({
      cpuUsed: Math.min(1, 0.02 * running()),
      load1: 0.02 * running(),
      memoryUsedBytes: 256 * 2 ** 20 * running(),
      more: simCounters(sim, clock.monotonic(), bootedAtMs),
    }),
  };
}

/** A machine that writes 1 MB and sends 2 MB in a second. */
function simCounters({ options }: SimHost, atMs: number, bootedAtMs: number): MachineCounters {
  const since = (perSecond: number): number => Math.floor((perSecond * (atMs - bootedAtMs)) / 1000);
  return {
    atMs,
    cpus: options.cpuThreads,
    ...{ cpuIowait: 0.01, cpuSteal: 0, load5: 0.1, load15: 0.1 },
    cpuSeconds: { user: since(1) / 2, system: since(1) / 4, idle: since(7) },
    ...{ memoryBytes: options.memoryBytes, swapBytes: 0, swapUsedBytes: 0 },
    ...{ diskReadBytes: since(500_000), diskWriteBytes: since(1_000_000), diskReads: since(5), diskWrites: since(10) },
    nics: [
      {
        ...{ name: 'eth0', kind: 'physical', receiveBytes: since(1_000_000), transmitBytes: since(2_000_000) },
        ...{ receivePackets: since(1_000), transmitPackets: since(2_000), errors: 0, drops: 0 },
      },
    ],
  };
}

/** Everything is there that a definition may ask for, but for devices. */
function createSimMeans(sim: SimHost): Means {
  const plenty = 2 ** 30;
  return {
    inventory: async () => simInventory(sim),
    hugePages: async () => [2 ** 21, 2 ** 30].map((sizeBytes) => ({ sizeBytes, total: plenty, free: plenty })),
    listeningPorts: async () => new Set(),
    whyNotBootable: async () => undefined,
  };
}

function createSimBridges(sim: SimHost): Bridges {
  return {
    list: async () => [...sim.bridges.values()].map((b) => ({ ...b, up: true, ports: [] })),
    async ensure(name, addresses) {
      if (sim.bridges.get(name)?.owned === false)
        throw new ClusterError('BAD_STATE', `bridge ${name} was not made by Berth`);
      sim.bridges.set(name, { name, addresses, owned: true });
    },
    async remove(name) {
      if (sim.bridges.get(name)?.owned === false)
        throw new ClusterError('BAD_STATE', `bridge ${name} was not made by Berth`);
      sim.bridges.delete(name);
    },
    links: async () => ['lo', 'eth0', ...sim.bridges.keys()],
    taken: async () =>
      [...sim.bridges.values()].flatMap(({ name, addresses }) =>
        addresses.map((network) => ({ network, device: name, what: `address ${network} of ${name}` })),
      ),
  };
}
