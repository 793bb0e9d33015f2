/** The simulated hypervisor: SimHost behind the Hypervisor interface. Guests "boot" by writing one line to their serial log. */
import { createSimCpus } from '@berth/shared/sim/sim-cpus.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { SimDomain, SimHost } from '@berth/shared/sim/sim-host.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type {
  DomainDisk,
  DomainNic,
  DomainSeen,
  DomainStats,
  Hypervisor,
  HypervisorEvent,
  HypervisorInfo,
  MachineAbilities,
} from '../hypervisor.ts';
import { appendSimSerialLog } from './sim-serial.ts';
import { openSimDisplay } from './sim-display.ts';
import { simScreenshot } from './sim-screen.ts';
import { simDevices } from './sim-devices.ts';
import { simBackup } from './sim-capture.ts';
import { simDiskCopies } from './sim-disk-copies.ts';
import { simSnapshots } from './sim-snapshots.ts';
import { SimGuestAgents } from './sim-guest-agents.ts';
import { createSimConsoles } from './sim-consoles.ts';
import { identityOf, metadataOf, serialLogOf, sizesOf } from './sim-domain-xml.ts';
import { withDevice, withMemory, withVcpus } from './sim-live.ts';

const INFO: HypervisorInfo = {
  libvirtVersion: '9.0.0',
  qemuVersion: '7.2.0',
  domainTypes: ['qemu'],
  emulatorPath: '/usr/bin/qemu-system-x86_64',
  cpuModel: 'Simulated',
};

export function createSimHypervisor(host: SimHost, clock: Clock): Hypervisor {
  const listeners = new Set<(e: HypervisorEvent) => void>();
  const consoles = createSimConsoles(host, clock);
  const guests = new SimGuestAgents(host, clock);
  const forget = host.onDomain((uuid) => {
    const d = host.domains.get(uuid);
    for (const l of listeners) l({ type: 'domain', uuid, seen: d && seen(d) });
  });
  const all = (): readonly SimDomain[] => host.list();
  return {
    info: async () => {
      all(); // throws while the hypervisor is down
      return INFO;
    },
    machineAbilities: async (machine) => simAbilities(machine),
    list: async () => all().map(seen),
    define: async (xml) => seen(host.define({ ...identityOf(xml), xml })),
    undefine: async (uuid) => host.undefine(uuid),
    start: async (uuid) => {
      const { power, reason } = host.get(uuid);
      host.start(uuid);
      if (power !== 'running' && reason !== 'saved') boot(host, clock, uuid);
    },
    shutdown: async (uuid) => host.shutdown(uuid),
    destroy: async (uuid) => host.destroy(uuid),
    reboot: async (uuid) => host.reboot(uuid, () => boot(host, clock, uuid)),
    reset: async (uuid) => {
      host.reset(uuid);
      boot(host, clock, uuid);
    },
    suspend: async (uuid) => host.suspend(uuid),
    resume: async (uuid) => host.resume(uuid),
    save: async (uuid) => host.save(uuid),
    backup: (uuid, _disks, _work, begun) => simBackup(host, uuid, begun),
    discardSaved: async (uuid) => host.discardSaved(uuid),
    injectNmi: async (uuid) => host.poke(uuid, 'nmi'),
    sendKeys: async (uuid, codes) => host.poke(uuid, `keys ${codes.join('-')}`),
    guests,
    devices: simDevices(host),
    copies: simDiskCopies(host),
    snapshots: simSnapshots(host, clock),
    cpus: createSimCpus(host.options.cpu),
    screenshot: async (uuid) => simScreenshot(host.get(uuid)),
    getXml: async (uuid) => host.get(uuid).xml,
    getRunningXml: async (uuid) => host.getRunningXml(uuid),
    getSavedXml: async (uuid) => {
      const { reason, runningXml } = host.get(uuid);
      return reason === 'saved' ? runningXml : undefined;
    },
    setVcpus: async (uuid, vcpus) => host.changeRunning(uuid, (xml) => withVcpus(xml, vcpus)),
    setMemory: async (uuid, memoryBytes) => host.changeRunning(uuid, (xml) => withMemory(xml, memoryBytes)),
    updateDevice: async (uuid, device, force) => host.changeRunning(uuid, (xml) => withDevice(xml, device, force)),
    stats: async () =>
      all()
        .filter((d) => d.power === 'running')
        .map((d) => statsOf(d, clock)),
    openConsole: async (uuid, force) => consoles.open(uuid, force),
    openDisplay: async (uuid, kind) => openSimDisplay(host, host.get(uuid), kind),
    subscribe(listener) {
      listeners.add(listener);
      listener({ type: 'connected' });
      return () => listeners.delete(listener);
    },
    close: async () => {
      forget();
      guests.close();
      consoles.close();
    },
  };
}

function simAbilities(machine: string): MachineAbilities {
  if (!/^(q35|pc|pc-q35-[0-8]\.\d|pc-i440fx-[0-8]\.\d)$/.test(machine))
    throw invalidArgument(`the machine '${machine}' is not supported by emulator`);
  return {
    ...{ firmwares: ['bios', 'efi'], secureBoot: true, tpms: ['passthrough', 'emulator'] },
    ...{ cpuModels: ['qemu64', 'Westmere', 'Skylake-Client'], graphics: ['vnc', 'spice'] },
    videos: ['vga', 'cirrus', 'vmvga', 'qxl', 'virtio', 'none', 'bochs', 'ramfb'],
  };
}

function seen(d: SimDomain): DomainSeen {
  const on = d.power === 'running' || d.power === 'paused';
  const { memoryBytes, vcpus } = sizesOf((on ? d.runningXml : undefined) ?? d.xml);
  return {
    uuid: d.uuid,
    name: d.name,
    power: d.power,
    reason: d.reason,
    persistent: true,
    metadataXml: metadataOf(d.xml),
    memoryBytes,
    vcpus,
  };
}

/** What a real guest of the lab prints: its name from the seed on its second disk, its address, how long it took. */
function boot(host: SimHost, clock: Clock, uuid: string): void {
  clock.after(host.options.bootMs, () => {
    const d = host.domains.get(uuid);
    const log = d && serialLogOf(d.xml);
    if (!d || d.power !== 'running' || !log) return;
    const seed = [...host.volumes.values()].find((v) => v.files && d.xml.includes(v.volumeId))?.files ?? {};
    const name = /local-hostname: *"?([^"\n]+)"?/.exec(seed['meta-data'] ?? '')?.[1] ?? '(none)';
    const address = /(\d+\.\d+\.\d+\.\d+)\/\d+/.exec(seed['network-config'] ?? '')?.[1] ?? '-';
    const line = `berth-guest: ${name} ${address} up ${(host.options.bootMs / 1000).toFixed(1)} s\r\n`;
    appendSimSerialLog(host, log, line);
  });
}

/** What each guest does in a second, counted from its start. */
const BUSY = { cpuNs: 20_000_000, reads: 10, readBytes: 100_000, writes: 20, writeBytes: 200_000, flushes: 2 } as const;
const NET = { receiveBytes: 50_000, transmitBytes: 25_000, receivePackets: 50, transmitPackets: 25 } as const;
const EACH_NS = { read: 1_000_000, write: 2_000_000, flush: 4_000_000 } as const;

const simDisk = (
  since: (perSecond: number) => number,
  ops: { blockReads: number; blockWrites: number; blockFlushes: number },
): DomainDisk => ({
  target: 'vda',
  ...{ readBytes: since(BUSY.readBytes), writeBytes: since(BUSY.writeBytes) },
  ...{ reads: ops.blockReads, writes: ops.blockWrites, flushes: ops.blockFlushes },
  readNs: ops.blockReads * EACH_NS.read,
  writeNs: ops.blockWrites * EACH_NS.write,
  flushNs: ops.blockFlushes * EACH_NS.flush,
  ...{ capacityBytes: 2 ** 30, allocationBytes: 2 ** 28 },
});

const simNic = (since: (perSecond: number) => number): Omit<DomainNic, 'name'> => ({
  ...{ receiveBytes: since(NET.receiveBytes), transmitBytes: since(NET.transmitBytes) },
  ...{ receivePackets: since(NET.receivePackets), transmitPackets: since(NET.transmitPackets), errors: 0, drops: 0 },
});

function statsOf(d: SimDomain, clock: Clock): DomainStats {
  const seconds = Math.max(0, clock.now() - d.startedAtMs) / 1000;
  const since = (perSecond: number): number => Math.floor(perSecond * seconds);
  const { memoryBytes } = sizesOf(d.xml);
  const ops = { blockReads: since(BUSY.reads), blockWrites: since(BUSY.writes), blockFlushes: since(BUSY.flushes) };
  return {
    uuid: d.uuid,
    cpuTimeNs: BigInt(since(BUSY.cpuNs)), // 2 % of one CPU
    memoryUsedBytes: Math.round(memoryBytes / 2),
    blockReadBytes: BigInt(since(BUSY.readBytes)),
    blockWriteBytes: BigInt(since(BUSY.writeBytes)),
    netReceiveBytes: BigInt(since(NET.receiveBytes)),
    netTransmitBytes: BigInt(since(NET.transmitBytes)),
    more: {
      atMs: clock.monotonic(),
      ...ops,
      blockReadNs: ops.blockReads * EACH_NS.read,
      blockWriteNs: ops.blockWrites * EACH_NS.write,
      blockFlushNs: ops.blockFlushes * EACH_NS.flush,
      netReceivePackets: since(NET.receivePackets),
      netTransmitPackets: since(NET.transmitPackets),
      netErrors: 0,
      balloonBytes: memoryBytes,
      guestTotalBytes: Math.round(memoryBytes * 0.95),
      guestUsableBytes: Math.round(memoryBytes * 0.7),
      ...{ cpuUserNs: since(BUSY.cpuNs * 0.75), cpuSystemNs: since(BUSY.cpuNs * 0.25), vcpuDelayNs: since(1_000_000) },
      disks: [simDisk(since, ops)],
      nics: [{ name: 'vnet0', ...simNic(since) }],
    },
  };
}
