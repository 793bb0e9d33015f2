/** berth volume create: disks that stand alone until a VM gets them. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { PREALLOCATIONS, VOLUME_FORMATS } from '@berth/shared/model/volume.ts';
import { bytes, labels, LABEL, NO_WAIT, text, yes, type Command, type Flag } from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const FORMAT: Flag = {
  spec: '--format <format>',
  description: 'of its file (default qcow2)',
  choices: VOLUME_FORMATS,
};

export const volumeCreate: Command = {
  noun: 'volume',
  verb: 'create',
  summary: 'make disks that stand alone',
  details: `Examples:
  berth volume create data --size 20GiB
  berth volume create fast --size 100GiB --format raw --preallocation falloc --host h1
  berth volume create copy --image debian
  berth volume create lun1 --pool san --unit unit:0:0:1`,
  args: [{ name: 'names', description: 'names of the new volumes', required: true, many: true }],
  flags: [
    { spec: '--size <size>', description: 'size of the disk: 20GiB (with an image: at least its size)' },
    FORMAT,
    {
      spec: '--preallocation <how>',
      description: 'what of it takes room from the beginning (default off: nothing)',
      choices: PREALLOCATIONS,
    },
    { spec: '--cluster-size <size>', description: 'of qcow2: 512B to 2MiB (default 64KiB)' },
    { spec: '--lazy-refcounts', description: 'of qcow2: faster, and mended after a crash of its host' },
    { spec: '--host <host>', description: 'put them on this host', kind: 'host' },
    { spec: '--pool <pool>', description: 'storage pool that they lie in (default: local)', kind: 'pool' },
    { spec: '--image <image>', description: 'what is in them at first', kind: 'image' },
    { spec: '--unit <unit>', description: 'a unit (LUN) of the pool becomes the volume, as it is (berth pool show)' },
    LABEL,
    NO_WAIT,
  ],
  async run(ctx, names, flags) {
    const clusterBytes = Number(bytes(flags, 'clusterSize', '--cluster-size'));
    const image = text(flags, 'image') ?? '';
    const sizeBytes = bytes(flags, 'size', '--size');
    const unit = text(flags, 'unit') ?? '';
    if (image === '' && sizeBytes === 0n && unit === '')
      throw invalidArgument('how large? Say --size 20GiB, or what is in it with --image');
    const request = {
      ...{ sizeBytes, clusterBytes, image, labels: labels(flags), lazyRefcounts: yes(flags, 'lazyRefcounts') },
      ...{ format: text(flags, 'format') ?? '', preallocation: text(flags, 'preallocation') ?? '' },
      ...{ host: text(flags, 'host') ?? '', pool: text(flags, 'pool') ?? '', unit },
    };
    await runMany(ctx, {
      ...{ noun: 'volume', names, wait: flags['wait'] !== false },
      start: (api, name) => api.call(api.volumes, (c) => c.createVolume, { ...request, name }),
      done: async (api, volume) => {
        const { host } = await api.call(api.volumes, (c) => c.getVolume, { volume });
        return `created on ${host}`;
      },
    });
  },
};
