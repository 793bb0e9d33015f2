/** The simulated hypervisor: SimHost behind the Hypervisor interface. Guests "boot" by writing one line to their serial log. */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { SimDomain, SimHost } from '@berth/shared/sim/sim-host.ts';
import type { DomainSeen, DomainStats, Hypervisor, HypervisorEvent, HypervisorInfo } from '../hypervisor.ts';
import { simScreenshot } from './sim-screen.ts';
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
  const consoles = createSimConsoles(host);
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
    discardSaved: async (uuid) => host.discardSaved(uuid),
    injectNmi: async (uuid) => host.poke(uuid, 'nmi'),
    sendKeys: async (uuid, codes) => host.poke(uuid, `keys ${codes.join('-')}`),
    screenshot: async (uuid) => simScreenshot(host.get(uuid)),
    getXml: async (uuid) => host.get(uuid).xml,
    getRunningXml: async (uuid) => host.getRunningXml(uuid),
    setVcpus: async (uuid, vcpus) => host.changeRunning(uuid, (xml) => withVcpus(xml, vcpus)),
    setMemory: async (uuid, memoryBytes) => host.changeRunning(uuid, (xml) => withMemory(xml, memoryBytes)),
    updateDevice: async (uuid, device, force) => host.changeRunning(uuid, (xml) => withDevice(xml, device, force)),
    stats: async () =>
      all()
        .filter((d) => d.power === 'running')
        .map((d) => statsOf(d, clock.now())),
    openConsole: async (uuid, force) => consoles.open(uuid, force),
    subscribe(listener) {
      listeners.add(listener);
      listener({ type: 'connected' });
      return () => listeners.delete(listener);
    },
    close: async () => {
      forget();
      consoles.close();
    },
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
    host.serialLogs.set(log, (host.serialLogs.get(log) ?? '') + line);
  });
}

const statsOf = (d: SimDomain, nowMs: number): DomainStats => ({
  uuid: d.uuid,
  cpuTimeNs: BigInt(Math.max(0, Math.round(nowMs - d.startedAtMs))) * 20_000n, // 2 % of one CPU
  memoryUsedBytes: Math.round(sizesOf(d.xml).memoryBytes / 2),
  blockReadBytes: 0n,
  blockWriteBytes: 0n,
  netReceiveBytes: 0n,
  netTransmitBytes: 0n,
});
