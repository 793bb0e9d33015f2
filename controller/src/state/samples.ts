/** Plain objects for tests and benches of the state: valid, unique, otherwise dull. Not used by the controller. */
import type { Host } from '@berth/shared/model/host.ts';
import { newId, type HostId, type ImageId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { Job } from '@berth/shared/model/job.ts';
import type { Network } from '@berth/shared/model/network.ts';
import { POOL_DEFAULTS, type Pool } from '@berth/shared/model/pool.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { newUuid } from '@berth/shared/runtime/random.ts';

let n = 0;

export const aHost = (o: Partial<Host>): Host => {
  const name = o.name ?? `host-${++n}`;
  return {
    id: newId('host', 1_700_000_000_000),
    name,
    address: `${name}.example:7444`,
    labels: {},
    maintenance: false,
    certificateFingerprint: 'ab'.repeat(32),
    createdAtMs: 1_700_000_000_000,
    generation: 1,
    ...o,
  };
};

export const anImage = (o: Partial<Image>): Image => ({
  id: newId('image', 1_700_000_000_000),
  name: `image-${++n}`,
  state: 'available',
  digest: `sha256:${'cd'.repeat(32)}`,
  sourceDigest: undefined,
  virtualSizeBytes: 1 << 30,
  createdAtMs: 1_700_000_000_000,
  ...o,
});

export const macOf = (i: number): string =>
  `52:54:${[24, 16, 8, 0].map((s) => ((i >>> s) & 255).toString(16).padStart(2, '0')).join(':')}`;

export function aVm(o: Partial<Vm> & { mac?: string; imageId?: ImageId | undefined; hostId?: HostId | undefined }): Vm {
  n++;
  const { mac = macOf(n), imageId, ...rest } = o;
  return {
    id: newId('vm', 1_700_000_000_000),
    name: `vm-${n}-of-the-bench`,
    uuid: newUuid(),
    phase: 'ready',
    hostId: undefined,
    desiredPower: 'off',
    spec: {
      vcpus: 2,
      memoryBytes: 2 ** 31,
      disks: [{ target: 'vda', volumeId: newId('volume', 1_700_000_000_000), sizeBytes: 2 ** 34, imageId }],
      nics: [
        { mac, bridge: 'berth0', model: 'virtio', address: '10.0.0.2/16', gateway: '10.0.0.1', dns: ['10.0.0.1'] },
      ],
      seedVolumeId: newId('volume', 1_700_000_000_000),
      sshKeys: [],
      userData: '',
      labels: { app: 'web' },
      runPolicy: 'restartOnFailure',
    },
    generation: 1,
    createdAtMs: 1_700_000_000_000,
    ...rest,
  };
}

export const aJob = (o: Partial<Job>): Job => ({
  id: newId('job', 1_700_000_000_000),
  kind: 'vm.start',
  version: 1,
  params: { vmId: 'vm-1' },
  state: 'running',
  subject: 'web',
  locks: [],
  key: undefined,
  waiters: [],
  user: 'admin',
  createdAtMs: 1_700_000_000_000,
  endedAtMs: undefined,
  deadlineAtMs: undefined,
  wakeAtMs: undefined,
  waitReason: undefined,
  cancelRequested: false,
  error: undefined,
  ...o,
});

export const aNetwork = (over: Partial<Network> = {}): Network => ({
  ...{ id: newId('network', 1), name: 'lan', state: 'ready', labels: {}, generation: 1, createdAtMs: 1 },
  shape: { kind: 'isolated', bridge: 'lan', addresses: [], dhcpRange: '', stp: false, delaySeconds: 0 },
  hosts: { all: true, ids: [], selector: '' },
  ...over,
});

export const aPool = (over: Partial<Pool> = {}): Pool => ({
  id: newId('pool', 1),
  name: 'fast',
  state: 'ready',
  source: {
    ...{ type: 'dir', targetPath: '/kvm/vdisks', hosts: [], path: '', name: '', devices: [] },
    ...{ format: '', initiator: '', adapter: '', authUser: '' },
  },
  shared: false,
  hosts: { all: true, ids: [], selector: '' },
  ...{ started: true, autostart: true, marked: false, generation: 1, createdAtMs: 1 },
  ...POOL_DEFAULTS,
  ...over,
});
