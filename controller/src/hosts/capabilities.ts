/**
 * Features that an agent may not have yet, or not any more: asked for by name (proto/EXTENSIONS.md), never by version. What is
 * missing is refused for that feature on that host, in words; nothing else of the host is.
 */
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { Host, HostFacts } from '@berth/shared/model/host.ts';

const WORDS = {
  'serial-log': "keep the guest's serial log",
  console: 'open a console',
  'console.resume': 'go on in a serial log where it was left',
  display: 'show the display of a vm',
  'domain.power': 'reboot, reset, suspend or resume a vm',
  'domain.save': 'save a vm to disk',
  'domain.input': 'send keys or an NMI to a vm',
  'domain.screenshot': 'take a picture of a screen',
  'host.check': 'look anew at what it needs',
  'domain.hardware': 'give a vm other than the usual hardware',
  'host.log': 'show its logs',
  'host.hardware': 'tell what the machine is made of',
  'domain.live': 'change a vm that runs',
  'host.tuning': 'tune its kernel',
  'guest.agent': 'speak with guest agents',
  'image.capture': 'make images of disks',
  pool: 'have storage pools',
  networks: 'make networks',
  'pool.block': 'have disks in pools of Ceph and LVM',
  'volume.block': 'have volumes that stand alone in pools of LUNs, Ceph and LVM',
  'volume.block-move': 'move disks of vms that run to and from pools that hold no files, or past pool local',
  'volume.block-io': 'take in files for volumes in pools of LUNs, Ceph and LVM, or make files or images of these',
  'clone.instant': 'start a vm before its image has arrived',
  'clone.full': 'make a full copy of an image for a vm',
  'clone.full-pools': 'make full copies of images in pools of files',
  'domain.describe': 'describe a vm that it has',
  'domain.devices': 'attach disks and network cards to a vm, or take them away',
  'volume.move': 'move volumes between pools, or make them there',
  'volume.export': 'make files of volumes',
  'volume.upload': 'take in files that become volumes',
  'volume.foreign': 'keep volumes as vmdk, vdi or vhdx',
  'volume.transfer': 'send or get volumes',
  'volume.full': 'read disks in pools of files, or send volumes with what is in their image',
  'volume.pool-files':
    'convert, sparsify, wipe or shrink volumes in pools of files, or move them with what is in their image',
  'volume.full-live': 'move disks of vms that run with what is in their image',
  'snapshot.pools': 'make images of snapshots of disks in pools of files',
  'volume.rewrite': 'convert, sparsify or wipe a volume',
  'upload.generalize': 'take out of an image what makes its guest one machine among others',
  'volume.customize': 'change guests that are off from outside',
  metrics: 'give out metrics',
  snapshots: 'keep snapshots of vms',
  'volume.data': 'keep volumes that stand alone, or change their size',
} as const;

/** @param facts undefined: it has not reported, and whatever is asked of it will say so. UNSUPPORTED. */
export function needCapability(
  host: Pick<Host, 'name'>,
  facts: Pick<HostFacts, 'capabilities' | 'agentVersion'> | undefined,
  name: keyof typeof WORDS,
): void {
  if (facts === undefined || facts.capabilities.includes(name)) return;
  const version = facts.agentVersion === '' ? '' : ` ${facts.agentVersion}`;
  throw unsupported(
    `the agent${version} of host ${host.name} cannot ${WORDS[name]} (it lacks ${name}): upgrade it, then try again`,
  );
}
