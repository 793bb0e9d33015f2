/** VolumeService: volumes as people see them, those of VMs and those that stand alone. */
import type { Volume, VolumeServiceService } from '@berth/proto/v1/volume.ts';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { VolumeAnswer, Volumes } from '../app/volumes.ts';
import type { VolumeView } from '../app/volume-view.ts';
import type { Handlers } from './call.ts';
import { fromWire, toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import { insistLabels, insistUnits, type Scope } from './scope.ts';

export const volumeHandlers = (volumes: Volumes, scope: Scope): Handlers<VolumeServiceService> => ({
  createVolume: async (r, call) => {
    scope.insistImages(call, [r.image]);
    if (r.unit !== '') insistUnits(call);
    return toAnswer(await volumes.create({ ...r, sizeBytes: fromWire('size_bytes', r.sizeBytes) }, call.user));
  },
  getVolume: async (r) => toVolume(await volumes.get(r.volume)),
  listVolumes: async (r, call) => {
    const fits = parseSelector(r.selector);
    const keep = (labels: Readonly<Record<string, string>>) => fits(labels) && call.access.on('viewer', { labels });
    const { items, nextPageToken } = await volumes.list(
      { ...toQuery(r.page), host: r.host, pool: r.pool, alone: r.alone },
      keep,
    );
    return { volumes: items.map(toVolume), nextPageToken };
  },
  deleteVolume: async (r, call) => toAnswer(await volumes.delete(r.volume, call.user)),
  resizeVolume: async (r, call) => {
    const wanted = { sizeBytes: fromWire('size_bytes', r.sizeBytes), shrink: r.shrink };
    return toAnswer(await volumes.resize(r.volume, wanted, call.user));
  },
  convertVolume: async (r, call) => toAnswer(await volumes.convert(r.volume, r.format, call.user)),
  sparsifyVolume: async (r, call) => toAnswer(await volumes.sparsify(r.volume, call.user)),
  wipeVolume: async (r, call) => toAnswer(await volumes.wipe(r.volume, call.user)),
  attachVolume: async (r, call) => toAnswer(await volumes.attach(r.volume, r, call.user)),
  detachVolume: async (r, call) => toAnswer(await volumes.detach(r.volume, r, call.user)),
  moveVolume: async (r, call) => toAnswer(await volumes.move(r.volume, r, call.user)),
  labelVolume: async (r, call) =>
    toVolume(await volumes.label(r.volume, r, (labels) => insistLabels(call, 'operator', labels))),
  adoptVolume: async (r, call) => toVolume(await volumes.get((await volumes.adopt(r.volume, r.name, call.user)).id)),
});

const toAnswer = ({ view, jobId }: VolumeAnswer) => ({ volume: toVolume(view), jobId: jobId ?? '' });

export const toVolume = (v: VolumeView): Volume => ({
  ...{ id: v.id, name: v.name, state: v.state, host: v.hostName, pool: v.pool, format: v.format },
  ...{ vm: v.vm, target: v.target, labels: { ...v.labels }, backing: [...v.backing], jobId: v.jobId ?? '' },
  sizeBytes: toWire(v.sizeBytes),
  allocatedBytes: toWire(v.allocatedBytes),
  createdAtMs: toWire(v.createdAtMs),
});
