/**
 * Documents of kind volume: disks that stand alone. They are made, grown and moved; what is lost with a change (making one smaller,
 * another format) is left to the verbs that say so.
 */
import { CreateVolumeRequest, type Volume } from '@berth/proto/v1/volume.ts';
import { badState, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { bytes, oneOf } from '@berth/shared/hardware/values.ts';
import { KEPT_FORMATS, PREALLOCATIONS } from '@berth/shared/model/volume.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import * as z from 'zod';
import type { Api } from '../core/api.ts';
import type { Change, Kind, Plan } from './kind.ts';
import { labelChanges, relabelling } from './labels.ts';

const text = z.string().min(1, 'must not be empty').optional();

const spec = z.strictObject({
  sizeBytes: bytes(1, Number.MAX_SAFE_INTEGER).optional(),
  ...{ format: oneOf(KEPT_FORMATS).optional(), host: text, pool: text, image: text },
  ...{ preallocation: oneOf(PREALLOCATIONS).optional(), lazyRefcounts: z.boolean().optional() },
  clusterBytes: bytes(512, 2 * 2 ** 20).optional(),
});
const schema = z.strictObject({
  kind: z.literal('volume'),
  name: z.string().min(1, 'must not be empty'),
  labels: z.record(z.string(), z.string()).optional(),
  spec: spec.optional(),
  status: z.unknown().optional(),
});
type VolumeDocument = z.output<typeof schema>;

export const volumeKind: Kind = { schema, plan: planVolume };

async function planVolume(api: Api, d: VolumeDocument): Promise<Plan> {
  const volume = await find(api, d.name);
  if (volume === undefined) return planNew(d);
  refuse(d, volume);
  const { sizeBytes, pool, host } = d.spec ?? {};
  const grows = sizeBytes !== undefined && BigInt(sizeBytes) !== volume.sizeBytes;
  const changes: Change[] = [
    ...(grows ? [{ field: 'size', before: size(volume.sizeBytes), after: size(sizeBytes) }] : []),
    ...other('pool', volume.pool, pool),
    ...other('host', volume.host, host),
  ];
  const moves = changes.some((c) => c.field !== 'size');
  const labels = d.labels && relabelling(volume.labels, d.labels);
  if (d.labels) changes.push(...labelChanges(volume.labels, d.labels));
  if (grows && moves)
    throw invalidArgument(`volume ${d.name}: size and place cannot change in one step: apply one of them first`);
  return {
    ...{ noun: 'volume', name: d.name, what: changes.length === 0 ? 'nothing' : 'update', changes },
    apply: async (to) => {
      if (labels) await to.call(to.volumes, (c) => c.labelVolume, { volume: d.name, ...labels });
      if (!grows && !moves) return { jobId: '', said: 'changed' };
      const [volume_, place] = [
        { volume: d.name },
        { pool: pool ?? '', host: host === volume.host ? '' : (host ?? '') },
      ];
      const { jobId } = moves
        ? await to.call(to.volumes, (c) => c.moveVolume, { ...volume_, ...place, full: false })
        : await to.call(to.volumes, (c) => c.resizeVolume, {
            ...volume_,
            sizeBytes: BigInt(sizeBytes ?? 0),
            shrink: false,
          });
      return { jobId, said: 'changed' };
    },
  };
}

const size = (n: bigint | number): string => formatBytes(Number(n));
const other = (field: string, before: string, after: string | undefined): readonly Change[] =>
  after === undefined || after === before ? [] : [{ field, before, after }];

function planNew({ name, labels = {}, spec: s = {} }: VolumeDocument): Plan {
  if (s.sizeBytes === undefined && s.image === undefined)
    throw invalidArgument(`volume ${name}: size is missing: size: 20GiB, or what is in it with image: NAME`);
  const { sizeBytes = 0, clusterBytes = 0, lazyRefcounts = false } = s;
  const { format = '', preallocation = '', host = '', pool = '', image = '' } = s;
  const how = { format, preallocation, host, pool, image, clusterBytes, lazyRefcounts };
  const request = CreateVolumeRequest.fromPartial({ ...how, name, labels, sizeBytes: BigInt(sizeBytes) });
  return {
    ...{ noun: 'volume', name, what: 'create', changes: [], ...(s.host !== undefined && { where: s.host }) },
    apply: async (api) => {
      const { jobId } = await api.call(api.volumes, (c) => c.createVolume, request);
      return { jobId, said: 'created' };
    },
  };
}

/** What stays as it was made says nothing of how it was made: image, preallocation and the like are not looked at again. */
function refuse({ name, spec: s = {} }: VolumeDocument, v: Volume): void {
  if (v.vm !== '')
    throw badState(`volume ${name} is a disk of vm ${v.vm}: what it shall be stands in the document of that vm`);
  if (s.sizeBytes !== undefined && BigInt(s.sizeBytes) < v.sizeBytes)
    throw invalidArgument(
      `volume ${name}: size ${size(s.sizeBytes)} is less than it has (${size(v.sizeBytes)}): berth volume resize ${name} --shrink checks what that would cut off`,
    );
  if (s.format !== undefined && s.format !== v.format)
    throw invalidArgument(
      `volume ${name}: format is ${v.format}: berth volume convert ${name} --to ${s.format} makes it ${s.format}`,
    );
}

async function find(api: Api, volume: string): Promise<Volume | undefined> {
  try {
    return await api.call(api.volumes, (c) => c.getVolume, { volume });
  } catch (e) {
    if (isClusterError(e, 'NOT_FOUND')) return undefined;
    throw e;
  }
}
