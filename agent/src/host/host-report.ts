/** What this host is and has, in one report. What can't be asked now (libvirt is away) keeps its last known value. */
import type { HostFacts } from '@berth/shared/model/host.ts';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { VERSION } from '@berth/shared/version.ts';
import type { Drivers } from '../drivers/machine.ts';
import type { HypervisorInfo } from '../drivers/hypervisor.ts';
import type { Abilities } from './abilities.ts';
import { versionChecks } from './version-checks.ts';

/** Optional features by name, append-only; proto/EXTENSIONS.md says what each is. */
export const CAPABILITIES = [
  'image.fetch',
  'serial-log',
  'console',
  'certificates',
  'domain.describe',
  'upload.zeros',
  'domain.power',
  'domain.save',
  'domain.input',
  'domain.screenshot',
  'host.log',
  'host.check',
  'domain.hardware',
  'host.hardware',
  'domain.live',
  'console.resume',
  'display',
  'host.tuning',
  'guest.agent',
  'volume.data',
  'image.capture',
  'pool',
  'volume.rewrite',
  'domain.devices',
  'volume.customize',
  'volume.move',
  'volume.transfer',
  'volume.export',
  'image.relay',
  'image.hashes',
  'clone.instant',
  'clone.full',
  'image.export',
  'cpu.baseline',
  'upload.generalize',
  'metrics',
  'pool.block',
  'volume.upload',
  'networks',
  'volume.foreign',
  'snapshots',
  'volume.block',
  'volume.block-move',
  'volume.block-io',
  'volume.full',
  'volume.pool-files',
  'snapshot.pools',
  'volume.full-live',
  'clone.full-pools',
  'statistics.interval',
] as const;

/** libvirt takes a while, and says the same until it, QEMU or the machine is another. */
function cpuOnce({
  hypervisor,
}: Drivers): (info: HypervisorInfo | undefined, domainType: string) => Promise<HostFacts['cpu']> {
  let known: { readonly of: string; readonly cpu: HostFacts['cpu'] } | undefined;
  return async (info, domainType) => {
    const of = `${info?.libvirtVersion} ${info?.qemuVersion} ${domainType}`;
    if (known?.of === of || info === undefined || domainType === '') return known?.cpu;
    const cpu = await hypervisor.cpus.host(domainType).catch((e: unknown) => {
      if (isClusterError(e, 'BAD_STATE') || isClusterError(e, 'UNSUPPORTED')) return undefined;
      throw e;
    });
    known = { of, cpu };
    return cpu;
  };
}

export interface ReportDeps {
  readonly drivers: Drivers;
  readonly abilities: () => Promise<Abilities>;
  /** host:port of the export port, as far as it is known. */
  readonly peerAddress: () => string;
  /** host:port of the agent's own metrics, where others can reach it. */
  readonly metricsAddress?: () => string;
}

export function createHostReport(deps: ReportDeps): () => Promise<HostFacts> {
  let info: HypervisorInfo | undefined;
  let domainType = '';
  const cpuOf = cpuOnce(deps.drivers);
  return async () => {
    const { machine, disks, hypervisor } = deps.drivers;
    const looks = [machine.facts(), machine.checks({ mayBeOld: true }), disks.capacity()] as const;
    const [facts, checks, capacity] = await Promise.all(looks);
    info = await hypervisor.info().catch(() => info);
    domainType = await deps.abilities().then(
      (a) => a.domainType,
      () => domainType,
    );
    const cpu = await cpuOf(info, domainType).catch(() => undefined);
    return {
      ...facts,
      ...(cpu && { cpu }),
      libvirtVersion: info?.libvirtVersion ?? '',
      qemuVersion: info?.qemuVersion ?? '',
      agentVersion: VERSION,
      domainType,
      checks: [...checks, ...versionChecks(info)],
      capabilities: CAPABILITIES,
      largePages: await machine.largePages(),
      ...capacity,
      peerAddress: deps.peerAddress(),
      metricsAddress: deps.metricsAddress?.() ?? '',
    };
  };
}
