/**
 * A program, not a module: many whole agents in one process, each with simulated drivers, its own port, certificate,
 * ledger and VMs. What the controller sees of them is what it sees of real ones: mutual TLS, Watch, statistics. Its
 * configuration is the file named in argv; it says "ready" when all listen.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { memoryIdentity } from '@berth/agent/testing/identity.ts';
import { createAgent, type AgentPeers } from '@berth/agent/agent.ts';
import { parseConfig } from '@berth/agent/config.ts';
import { domainXml } from '@berth/agent/domain/xml/definition.ts';
import { createSimDrivers } from '@berth/agent/drivers/sim/sim-drivers.ts';
import { exportKey, newKeyPair } from '@berth/controller/trust/x509.ts';
import { loadIdentity } from '@berth/controller/trust/identity.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';

export interface FleetVm {
  readonly id: string;
  readonly uuid: string;
  readonly name: string;
  readonly mac: string;
}
export interface FleetHost {
  readonly id: string;
  readonly name: string;
  readonly port: number;
  readonly vms: readonly FleetVm[];
}
export interface FleetConfig {
  /** The controller's, for its CA. */
  readonly controllerDir: string;
  readonly dir: string;
  readonly hosts: readonly FleetHost[];
}

const clock = systemClock;
const log = createLog('fleet', 'silent');

/** Images do not move here, and 2,000 more ports would only be in the way. */
const NO_PEERS: AgentPeers = {
  port: {
    start: () => Promise.resolve({ port: 1 }),
    stop: () => Promise.resolve(),
    openExport: () => {
      throw new Error('the fleet serves no images');
    },
  },
  tunnels: {
    open: () => Promise.reject(new Error('the fleet fetches no images')),
    closeAll: () => Promise.resolve(),
  },
};

async function startHost(c: FleetConfig, host: FleetHost, trust: Awaited<ReturnType<typeof loadIdentity>>) {
  const keys = await newKeyPair();
  const request = { publicKey: keys.publicKey as never, keyFingerprint: '' };
  const control = {
    certPem: await trust.authority.signHost('control', request, host.id as HostId, clock.now()),
    keyPem: await exportKey(keys.privateKey),
    caPem: trust.caPem,
  };
  const { installationId } = trust;
  const identity = memoryIdentity({ hostId: host.id, installationId, control });
  const dataDir = join(c.dir, host.name);
  mkdirSync(dataDir, { recursive: true });
  const config = parseConfig(
    `dataDir: ${dataDir}\nlisten: 127.0.0.1:${host.port}\npeerListen: 127.0.0.1:1\npeerAddress: 127.0.0.1:1\n`,
    host.name,
  );
  const drivers = createSimDrivers({ name: host.name, runDir: dataDir, clock, memoryBytes: 256 * 2 ** 30 });
  for (const vm of host.vms) {
    drivers.sim.define({ uuid: vm.uuid, name: vm.name, xml: xmlOf(vm) });
    drivers.sim.start(vm.uuid);
  }
  await createAgent({ drivers, identity, config, clock, log, peers: NO_PEERS }).start();
}

const xmlOf = (vm: FleetVm): string =>
  domainXml(
    {
      vmId: vm.id,
      uuid: vm.uuid,
      name: vm.name,
      vcpus: 2,
      memoryBytes: 2 ** 31,
      disks: [],
      nics: [{ mac: vm.mac, bridge: 'br0', model: 'virtio' }],
      seedVolumeId: undefined,
      generation: 1,
    },
    {
      domainType: 'qemu',
      emulatorPath: '/usr/bin/qemu-system-x86_64',
      directIo: true,
      serialLogPath: '/dev/null',
      bootDir: '/var/lib/berth/boot',
      volumePath: (id) => id,
      volumeFormat: () => 'qcow2',
      mediumPath: (digest) => digest,
      imagePath: () => undefined,
    },
  );

const config = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as FleetConfig;
const trust = await loadIdentity(config.controllerDir, clock.now());
for (const host of config.hosts) await startHost(config, host, trust);
process.stdout.write('ready\n');
