/** The simulated hypervisor: SimHost behind the Hypervisor interface. Guests "boot" by writing one line to their serial log. */
import { Duplex } from 'node:stream';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { SimDomain, SimHost } from '@berth/shared/sim/sim-host.ts';
import {
  METADATA_NAMESPACE,
  type DomainSeen,
  type DomainStats,
  type Hypervisor,
  type HypervisorEvent,
  type HypervisorInfo,
} from '../hypervisor.ts';

const INFO: HypervisorInfo = {
  libvirtVersion: '9.0.0',
  qemuVersion: '7.2.0',
  domainTypes: ['qemu'],
  emulatorPath: '/usr/bin/qemu-system-x86_64',
  cpuModel: 'Simulated',
};

export function createSimHypervisor(host: SimHost, clock: Clock): Hypervisor {
  const listeners = new Set<(e: HypervisorEvent) => void>();
  const forget = host.onDomain((uuid) => {
    const d = host.domains.get(uuid);
    for (const l of listeners) l({ type: 'domain', uuid, seen: d && seen(d) });
  });
  const fresh = (uuid: string) => seen(host.get(uuid));
  return {
    info: async () => INFO,
    list: async () => [...host.domains.values()].map(seen),
    define: async (xml) => {
      const d = parse(xml);
      host.define(d);
      return fresh(d.uuid);
    },
    undefine: async (uuid) => host.undefine(uuid),
    start: async (uuid) => {
      const before = host.get(uuid).power;
      host.start(uuid);
      if (before !== 'running') boot(host, clock, uuid);
    },
    shutdown: async (uuid) => host.shutdown(uuid),
    destroy: async (uuid) => host.destroy(uuid),
    getXml: async (uuid) => host.get(uuid).xml,
    stats: async () =>
      [...host.domains.values()].filter((d) => d.power === 'running').map((d) => statsOf(d, clock.now())),
    openConsole: async (uuid) => echo(host.get(uuid).name),
    subscribe(listener) {
      listeners.add(listener);
      listener({ type: 'connected' });
      return () => listeners.delete(listener);
    },
    close: async () => {
      forget();
    },
  };
}

const text = (xml: string, tag: string): string => new RegExp(`<${tag}[^>]*>([^<]*)</${tag}>`).exec(xml)?.[1] ?? '';
const UNITS: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, b: 1, bytes: 1 };

const parse = (xml: string) => ({ uuid: text(xml, 'uuid'), name: text(xml, 'name'), xml });

function memoryBytes(xml: string): number {
  const unit = /<memory unit=['"](\w+)['"]/.exec(xml)?.[1] ?? 'KiB';
  return Number(text(xml, 'memory')) * (UNITS[unit] ?? 1024);
}

/** Our own element, as libvirt would give it back. */
function metadata(xml: string): string | undefined {
  const inner = /<metadata>([\s\S]*?)<\/metadata>/.exec(xml)?.[1]?.trim();
  return inner?.includes(METADATA_NAMESPACE) ? inner : undefined;
}

function seen(d: SimDomain): DomainSeen {
  const memory = memoryBytes(d.xml);
  return {
    uuid: d.uuid,
    name: d.name,
    power: d.power,
    reason: d.reason,
    persistent: true,
    metadataXml: metadata(d.xml),
    memoryBytes: memory,
    maxMemoryBytes: memory,
    vcpus: Number(text(d.xml, 'vcpu')) || 1,
  };
}

/** What a real guest of the lab prints: its name from the seed on its second disk, its address, how long it took. */
function boot(host: SimHost, clock: Clock, uuid: string): void {
  clock.after(host.options.bootMs, () => {
    const d = host.domains.get(uuid);
    const log = d && /<log file=['"]([^'"]+)['"]/.exec(d.xml)?.[1];
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
  cpuTimeNs: BigInt(Math.max(0, nowMs - d.startedAtMs)) * 20_000n, // 2 % of one CPU
  memoryUsedBytes: Math.round(memoryBytes(d.xml) / 2),
  blockReadBytes: 0n,
  blockWriteBytes: 0n,
  netReceiveBytes: 0n,
  netTransmitBytes: 0n,
});

/** A console that answers each line with the guest's name. */
function echo(name: string): Duplex {
  return new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      this.push(`${name}: ${chunk.toString()}`);
      done();
    },
    final(done) {
      this.push(null);
      done();
    },
  });
}
