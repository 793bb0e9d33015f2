/**
 * The libvirt driver against a real libvirt, by the same contract as the simulated one, and what it must survive: a
 * libvirtd that is killed, a QEMU that is frozen. No agent and no controller are involved.
 */
import { createLibvirtHypervisor } from '@berth/agent/drivers/libvirt/hypervisor.ts';
import { READY_SOCKET } from '@berth/deploy/lab/host-container.ts';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { hypervisorContract } from '../harness/hypervisor-contract.ts';
import { hypervisorFaultContract, type FaultyFixture } from '../harness/hypervisor-fault-contract.ts';
import { snapshotContract } from '../harness/snapshot-contract.ts';
import { describeLab } from '../harness/lab.ts';

const log = createLog('test', 'silent');

describeLab('the libvirt driver', { hosts: ['h1'] }, (lab) => {
  const make = (): Promise<FaultyFixture> => fixtureOn(lab().host('h1'));
  hypervisorContract('a real libvirt', make);
  hypervisorFaultContract('a real libvirt', make);
  snapshotContract('a real libvirt', async () => ({
    ...(await make()),
    async blankDisks(names) {
      const paths = names.map((n) => `/var/lib/libvirt/images/${n}.qcow2`);
      for (const path of paths) await lab().host('h1').exec(['qemu-img', 'create', '-q', '-f', 'qcow2', path, '16M']);
      return paths;
    },
    async snapshotsIn(path) {
      const { stdout } = await lab().host('h1').exec(['qemu-img', 'info', '-U', '--output=json', path]);
      const { snapshots = [] } = JSON.parse(stdout) as { snapshots?: { name: string }[] };
      return snapshots.map((s) => s.name);
    },
  }));
});

async function fixtureOn(host: LabHost): Promise<FaultyFixture> {
  const hypervisor = createLibvirtHypervisor({
    socketPath: await host.pathFromOutside(READY_SOCKET),
    clock: systemClock,
    random: systemRandom,
    log,
  });
  const qemuOf = (name: string): string => `qemu-system.*guest=${name},`;
  return {
    hypervisor,
    dispose: () => hypervisor.close(),
    killDaemon: () => host.killLibvirt({ hold: true }),
    startDaemon: () => host.releaseLibvirt(),
    freezeGuest: async (name) => void (await host.kill(qemuOf(name), 'SIGSTOP')),
    guestProcess: async (name) => (await host.pids(qemuOf(name))).join(' '),
  };
}
