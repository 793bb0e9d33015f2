/** The guest-disk driver on a real host: an overlay of the volume, guestfish on it, and the commit. See overlay.ts for crashes. */
import { stat } from 'node:fs/promises';
import { badState, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { LongWork } from '../../disks.ts';
import type { Edit, GuestDisk, GuestDisks } from '../../guest-disks.ts';
import { createPool, preparePool, type Pool } from '../disks/pool.ts';
import { takeBackFile } from '../disks/changes/own-file.ts';
import { createExec, type Exec } from '../exec.ts';
import { createAppliances, type Appliances } from './appliance.ts';
import { Guestfish } from './guestfish.ts';
import { mountGuest } from './mounts.ts';
import { explain, Overlay, unfinishedIn } from './overlay.ts';
import { readGuest } from './read-guest.ts';
import { commandsFor } from './write-guest.ts';

interface Parts {
  readonly exec: Exec;
  readonly pool: Pool;
  readonly clock: Clock;
  readonly appliances: Appliances;
}

interface GuestDisksOptions {
  readonly dataDir: string;
  readonly unprivilegedUser: string;
  readonly clock: Clock;
}

export function createGuestDisks({ clock, ...config }: GuestDisksOptions): GuestDisks {
  const pool = createPool(config.dataDir);
  const exec = createExec(config);
  const parts: Parts = { exec, pool, clock, appliances: createAppliances({ exec, pool }) };
  return {
    whyNot: () => parts.appliances.whyNot(),
    edit: (disk, edit, work) => editGuest(parts, disk, edit, work),
    async drop(disk) {
      const overlay = new Overlay(parts, disk);
      if ((await overlay.isWhole()) && !(await overlay.isStale())) await commit(overlay);
      else await overlay.remove();
      await takeBackFile(disk.path, await exec.sandboxUser());
    },
    unfinished: () => unfinishedIn(pool),
  };
}

/** Shares of the work, for people: the appliance takes the most of it. */
const TOTAL = 100;
const BOOTED = 60;
const READ = 75;
const WRITTEN = 90;

async function editGuest(parts: Parts, disk: GuestDisk, edit: Edit, work: LongWork): Promise<void> {
  const overlay = new Overlay(parts, disk);
  if (!(await overlay.isWhole()) || (await overlay.isStale())) {
    await preparePool(parts.pool);
    const appliance = await parts.appliances.get(work.signal);
    try {
      await overlay.begin(work.signal, () => change(parts, { disk, overlay, appliance }, edit, work));
      await edit.allowed();
      if (work.signal.aborted) throw work.signal.reason;
      await overlay.seal();
    } catch (e) {
      await overlay.remove();
      throw explain(e, disk);
    }
  }
  await commit(overlay);
  work.onProgress(TOTAL, TOTAL);
}

async function commit(overlay: Overlay): Promise<void> {
  try {
    await overlay.commit();
  } catch (e) {
    // somebody started the guest by hand: what was changed beside it fits it no more
    if (isClusterError(e, 'IN_USE')) await overlay.remove();
    throw e;
  }
  await overlay.remove();
}

async function change(
  { exec }: Parts,
  about: { readonly disk: GuestDisk; readonly overlay: Overlay; readonly appliance: string },
  edit: Edit,
  work: LongWork,
): Promise<void> {
  const { disk, overlay, appliance } = about;
  const what = `changing the guest on volume ${disk.volumeId}`;
  const kvmGroup = edit.accelerated ? await kvmGroupOf() : undefined;
  const { dir, path } = overlay;
  const fish = new Guestfish(exec, { dir, appliance, disk: path, kvmGroup, signal: work.signal, what });
  try {
    await fish.ask(`add-drive ${path} format:qcow2`, 'run');
    work.onProgress(BOOTED, TOTAL);
    await mountGuest(fish);
    const found = await readGuest(fish, edit.looks);
    work.onProgress(READ, TOTAL);
    await fish.ask(...commandsFor(edit.plan(found), found));
    await fish.end();
    work.onProgress(WRITTEN, TOTAL);
  } catch (e) {
    await fish.abandon();
    throw inWords(e, disk);
  }
}

/** Undefined where others than root may not use it: then it emulates. */
async function kvmGroupOf(): Promise<number | undefined> {
  const device = await stat('/dev/kvm').catch(() => undefined);
  return device !== undefined && (device.mode & 0o060) === 0o060 ? device.gid : undefined;
}

const OF_GUESTFS = /libguestfs: error: (?:\w+: )?(.*)/;

/** guestfish's own last word, without the names of its calls. No room is the guest's then, and not this host's. */
export function inWords(e: unknown, { volumeId }: Pick<GuestDisk, 'volumeId'>): unknown {
  if (!isClusterError(e, 'INTERNAL', 'DISK_FULL')) return e;
  const said = OF_GUESTFS.exec(lastLine(e))?.[1];
  if (said === undefined || e.meta['program'] !== 'guestfish') return e;
  const words = said.replace(/[^\x20-\x7e]/g, '?').slice(0, 200);
  if (/guestfs_launch failed|appliance closed|unexpectedly/.test(words))
    return new ClusterError(
      'INTERNAL',
      `changing the guest on volume ${volumeId}: its appliance did not come up, or broke down (${words})`,
      e.meta,
    );
  if (/No space left/.test(words))
    return badState(`the file system of the guest on volume ${volumeId} is full; nothing was changed in it`);
  return badState(`the guest on volume ${volumeId} can't be changed (${words}); it is as it was`);
}

const lastLine = (e: ClusterError): string =>
  String(e.meta['stderr'] ?? '')
    .trim()
    .split('\n')
    .findLast((l) => l.includes('libguestfs: error:')) ?? '';
