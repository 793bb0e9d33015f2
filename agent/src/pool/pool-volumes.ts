/**
 * The disk driver with the volumes in pools: whoever asks it for a volume need not know where it lies. Where a pool does not answer, its
 * volumes are listed as they were seen last: they are not gone.
 */
import { alreadyExists } from '@berth/shared/errors/cluster-error.ts';
import { KeyedTurns } from '@berth/shared/runtime/turns.ts';
import type { LongWork, VolumeSpec } from '../drivers/disks.ts';
import type { AllDisks, VolumePlaces } from '../drivers/volume-work.ts';
import { PoolVolumes, type PoolVolumeDeps } from './in-pools.ts';
import { createPlaces } from './pool-moves.ts';
import { pathIn } from './pool-paths.ts';

/** Volumes that are no files are made by writing all of them. */
export interface BlockDisks {
  isOfBlocks(spec: Pick<VolumeSpec, 'poolId'>): boolean;
  /** As `ensureVolume`: blank, or a copy of its image. */
  ensureBlockVolume(spec: VolumeSpec, work: LongWork): Promise<void>;
  /** Of a VM that is to start. @throws BAD_STATE: what is in the place of a LUN of it is another */
  insistUnits(vmId: string): Promise<void>;
}

/** The driver of the host's own folder, and with it the volumes in pools. */
export function withPools(
  own: AllDisks,
  deps: PoolVolumeDeps,
): AllDisks & BlockDisks & { readonly places: VolumePlaces } {
  const inPools = new PoolVolumes(own, deps);
  const places = createPlaces(own, deps, inPools);
  const locks = new KeyedTurns();
  const { store } = deps;
  const inTurn = <T>(id: string, fn: () => Promise<T>): Promise<T> => locks.run(`volume ${id}`, fn);
  const onVolume = <T>(id: string, fn: () => Promise<T>): Promise<T> =>
    inTurn(id, async () => {
      await inPools.settle(id);
      return fn();
    });
  // an image does not go while a volume is made over it
  const onImage = <T>(digest: string | undefined, fn: () => Promise<T>): Promise<T> =>
    digest === undefined ? fn() : locks.run(`image ${digest}`, fn);
  return {
    ...own,
    places,
    ...lists(own, inPools, store),
    ensureVolume: (spec) =>
      onVolume(spec.volumeId, async () => {
        const { poolId } = spec;
        if (poolId === undefined && store.volume(spec.volumeId) === undefined) return own.ensureVolume(spec);
        if (poolId === undefined) throw alreadyExists(`volume ${spec.volumeId} exists already, in a pool`);
        return onImage(spec.imageDigest, () => inPools.ensure({ ...spec, poolId }));
      }),
    ...fullClones(own, inPools, { onVolume, onImage }),
    isOfBlocks: ({ poolId }) => poolId !== undefined && inPools.isOfBlocks(poolId),
    ensureBlockVolume: (spec, work) => onVolume(spec.volumeId, () => inPools.ensureBlock(spec, work)),
    insistUnits: (vmId) => inPools.insistUnits(vmId),
    removeVolume: (id) =>
      inTurn(id, async () => {
        await places.end(id);
        await (store.volume(id) ? inPools.remove(id) : own.removeVolume(id));
      }),
    ...captures((id) => (store.volume(id) ? inPools : own), onVolume),
    removeImage: (digest) =>
      onImage(digest, async () => {
        inPools.refuseImageInUse(digest);
        return own.removeImage(digest);
      }),
    work: {
      make: ({ poolId, ...spec }, work) => {
        if (poolId === undefined) return own.work.make(spec, work);
        const file = () => onImage(spec.imageDigest, () => inPools.make({ ...spec, poolId }));
        const block = () => inPools.ensureBlock({ ...spec, poolId }, work);
        return onVolume(spec.volumeId, inPools.isOfBlocks(poolId) ? block : file);
      },
      export: (exportId, id, format, work) =>
        onVolume(id, () => (store.volume(id) ? inPools : own.work).export(exportId, id, format, work)),
      read: (id) => onVolume(id, () => (store.volume(id) ? inPools : own.work).read(id)),
      install: (spec, file, work) =>
        onVolume(spec.volumeId, () => {
          const { poolId } = spec;
          if (poolId === undefined) return own.work.install(spec, file, work);
          return onImage(spec.imageDigest, () => inPools.install({ ...spec, poolId }, file, work));
        }),
      openUploaded: own.work.openUploaded,
      staged: own.work.staged,
      assign: (id, to) => onVolume(id, () => (store.volume(id) ? inPools.assign(id, to) : own.work.assign(id, to))),
      resize: (id, ...how) => onVolume(id, () => (store.volume(id) ? inPools : own.work).resize(id, ...how)),
      rewrite: (id, wanted, ...how) =>
        onVolume(id, () =>
          store.volume(id)
            ? onImage(wanted.imageDigest, () => inPools.rewrite(id, wanted, ...how))
            : own.work.rewrite(id, wanted, ...how),
        ),
      settle: (id) => onVolume(id, () => own.work.settle(id)),
      wipe: (id, work) => onVolume(id, () => (store.volume(id) ? inPools : own.work).wipe(id, work)),
      noteSize: (id, bytes) => onVolume(id, () => (store.volume(id) ? inPools : own.work).noteSize(id, bytes)),
    },
    otherPath: (id) => otherPath(own, store, id),
    volumePath: (id, seed, format) => (seed ? undefined : inPools.path(id, format)) ?? own.volumePath(id, seed, format),
  };
}

/** One that moves here, or has moved away, lies where the record of its pool says. */
const lists = (
  own: AllDisks,
  inPools: PoolVolumes,
  store: PoolVolumeDeps['store'],
): Pick<AllDisks, 'listVolumes' | 'findVolume' | 'stamp'> => ({
  listVolumes: async () => [
    ...(await own.listVolumes()).filter((v) => store.volume(v.volumeId) === undefined),
    ...inPools.list(),
  ],
  findVolume: async (id) => inPools.find(id) ?? own.findVolume(id),
  // what lies in pools is known already
  ...(own.stamp && { stamp: async () => JSON.stringify([await own.stamp?.(), inPools.list()]) }),
});

interface InTurn {
  onVolume<T>(volumeId: string, fn: () => Promise<T>): Promise<T>;
  onImage<T>(digest: string | undefined, fn: () => Promise<T>): Promise<T>;
}

const fullClones = (
  own: AllDisks,
  inPools: PoolVolumes,
  { onVolume, onImage }: InTurn,
): Pick<AllDisks, 'ensureFullClone'> => ({
  ensureFullClone: ({ poolId, ...spec }, work) =>
    onVolume(spec.volumeId, () =>
      poolId === undefined
        ? own.ensureFullClone(spec, work)
        : onImage(spec.imageDigest, () => inPools.ensureFull({ ...spec, poolId }, work)),
    ),
});

type Captures = Pick<AllDisks, 'captureVolume' | 'captureSnapshot'>;

/** @param whose the host's own folder may still have the former file of one that lies in a pool */
const captures = (
  whose: (volumeId: string) => Captures,
  onVolume: (volumeId: string, fn: () => Promise<void>) => Promise<void>,
): Captures => ({
  captureVolume: (uploadId, id, work) => onVolume(id, () => whose(id).captureVolume(uploadId, id, work)),
  captureSnapshot: (uploadId, of, work) =>
    onVolume(of.volumeId, () => whose(of.volumeId).captureSnapshot(uploadId, of, work)),
});

/** Of one that moves: its file where it does not lie. */
function otherPath(own: AllDisks, store: PoolVolumeDeps['store'], id: string): string | undefined {
  const move = store.move(id);
  const volume = store.volume(id);
  if (move === undefined) return undefined;
  return pathIn(own, store, volume ?? { volumeId: id }, (volume?.poolId ?? '') === move.to ? move.from : move.to);
}
