/**
 * Changes to a volume, whole or not at all: they go into an overlay of it, which only an edit that has ended well becomes
 * `commit.qcow2`; that is put into the volume, as often as it takes, and then removed. So a crash before leaves the volume as it
 * was, and one after is repaired by doing the same again. The unprivileged user reads the volume, and writes to it only then: lent to it,
 * or, of a volume in a pool, where the agent's own unit may change nothing, through a qemu-nbd of root's and in a unit of its own.
 */
import { chown, lstat, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ClusterError, isClusterError, unsupported } from '@berth/shared/errors/cluster-error.ts';
import { isOnServer } from '../../file-servers.ts';
import type { GuestDisk } from '../../guest-disks.ts';
import { sizeOf, syncDir, syncFile, tellingFull, writeAtomic } from '../disks/files.ts';
import type { Pool } from '../disks/pool.ts';
import { requireRoom } from '../disks/space.ts';
import { lendTo } from '../disks/changes/own-file.ts';
import { checkPoolFile, withPoolFile } from '../disks/changes/pool-file.ts';
import type { ServeParts } from '../disks/changes/served.ts';
import type { RunOptions } from '../exec.ts';
import { systemdRuns } from '../outside.ts';
import { takeFile } from '../take-file.ts';
import { commitUnitArgs, commitUnitName } from './commit-unit.ts';

export class Overlay {
  readonly dir: string;
  /** While it is being written. */
  readonly path: string;
  private readonly whole: string;

  constructor(
    private readonly parts: ServeParts & { readonly pool: Pool },
    private readonly disk: GuestDisk,
  ) {
    this.dir = join(parts.pool.customizeDir, disk.volumeId);
    this.path = join(this.dir, 'work.qcow2');
    this.whole = join(this.dir, COMMIT);
  }

  async isWhole(): Promise<boolean> {
    return (await sizeOf(this.whole)) !== undefined;
  }

  /** A part of it may be in the volume. One that was sealed by an agent that noted nothing, too. */
  async hasBegun(): Promise<boolean> {
    const [begun, noted] = await Promise.all([BEGUN, NOTED].map((name) => sizeOf(join(this.dir, name))));
    return begun !== undefined || noted === undefined;
  }

  /** Nothing of it is in the volume, which has changed since it was made: it fits it no more. */
  async isStale(): Promise<boolean> {
    if (await this.hasBegun()) return false;
    return (await readFile(join(this.dir, NOTED), 'utf8')) !== (await this.look());
  }

  /** What a write to the volume changes. */
  private async look(): Promise<string> {
    const { mtimeNs, size } = await stat(this.disk.path, { bigint: true });
    return `${mtimeNs} ${size}\n`;
  }

  /** Begins afresh, and lets the unprivileged user read the volume while `fn` runs. @throws UNSAFE_IMAGE, IN_USE */
  async begin<T>(signal: AbortSignal, fn: () => Promise<T>): Promise<T> {
    const { inPool, ...disk } = this.disk;
    if (inPool === undefined) {
      await this.create();
      return this.lending('read', fn);
    }
    const file = { ...disk, backing: inPool.backing };
    await checkPoolFile(file);
    return withPoolFile(this.parts, file, signal, async (served) => {
      await this.create(served.path);
      return fn();
    });
  }

  /** @param source QEMU's words for the volume */
  async create(source = this.disk.path): Promise<void> {
    const { exec, pool } = this.parts;
    const { path, format, sizeBytes } = this.disk;
    if (!(await lstat(path)).isFile())
      throw unsupported(
        `volume ${this.disk.volumeId} is no file on this host; its guest can't be changed from outside`,
      );
    await requireRoom(pool.dataDir, ROOM_BYTES, 'changes to the guest');
    const user = await exec.sandboxUser();
    await tellingFull('changes to the guest', pool.customizeDir, async () => {
      await this.remove();
      await mkdir(this.dir, { mode: 0o700 });
      // -u: the volume is not looked at
      const backing = ['-u', '-F', format, '-b', source];
      await exec.run('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, this.path, String(sizeBytes)], {
        what: this.what,
      });
      await chown(this.path, user.uid, user.gid);
      await chown(this.dir, user.uid, user.gid);
    });
  }

  /** Lets the unprivileged user read the volume, or write to it, while `fn` runs. */
  lending<T>(mode: 'read' | 'write', fn: () => Promise<T>): Promise<T> {
    return lendTo(this.parts.exec, mode, this.disk.path, fn);
  }

  /** From here on the edit is finished, whatever happens. */
  async seal(): Promise<void> {
    const user = await this.parts.exec.sandboxUser();
    // qemu-img opens it for writing, though it writes nothing
    await takeFile(this.path, 0o660, user.gid);
    // nothing else of the program's stays, where root writes now
    for (const name of await readdir(this.dir))
      if (name !== basename(this.path)) await rm(join(this.dir, name), { recursive: true, force: true });
    await syncFile(this.path);
    await writeAtomic(join(this.dir, NOTED), await this.look(), 0o600);
    await rename(this.path, this.whole);
    await syncDir(this.dir);
    await syncDir(join(this.dir, '..'));
  }

  /**
   * Twice is once. Never cut short: what has begun is finished by the next agent, if this one ends. @throws IN_USE: nothing of it is
   * in the volume, which another program has; RESOURCE_BUSY: a part of it may be, and the rest has to follow
   */
  async commit(): Promise<void> {
    const earlier = await this.hasBegun();
    const begun = join(this.dir, BEGUN);
    if (!earlier) await writeAtomic(begun, '', 0o600);
    try {
      await this.putIn();
    } catch (e) {
      const why = explain(e, this.disk);
      if (!isClusterError(why, 'IN_USE')) throw why;
      if (earlier) throw halfDone(this.disk, why);
      await rm(begun, { force: true }); // it could not even be opened
      throw why;
    }
    await syncFile(this.disk.path);
  }

  private async putIn(): Promise<void> {
    const { path, format, sizeBytes } = this.disk;
    const files = { driver: 'qcow2', 'file.driver': 'file', 'file.filename': this.whole };
    // named here, and not taken from the overlay's own header, which was a stranger's to write
    const backing = { 'backing.driver': format, 'backing.file.driver': 'file', 'backing.file.filename': path };
    const options = Object.entries({ ...files, ...backing }).map(([k, v]) => `${k}=${v.replaceAll(',', ',,')}`);
    const args = ['commit', '-q', '-d', '--image-opts', options.join(',')];
    const about = { timeoutMs: COMMIT_MS, what: this.what };
    const limits = { fileBytes: Math.ceil(sizeBytes * (65 / 64)) + ROOM_BYTES };
    const outside = this.disk.inPool && systemdRuns();
    if (outside) await this.putInOutside(['qemu-img', ...args], limits.fileBytes, about);
    else await this.lending('write', () => this.parts.exec.runConfined('qemu-img', args, { ...about, limits }));
  }

  /** In a unit of its own, which outlives this agent: the next one ends it before it does the same. */
  private async putInOutside(argv: readonly string[], fileBytes: number, about: RunOptions): Promise<void> {
    const { exec, pool } = this.parts;
    const { volumeId, path, inPool } = this.disk;
    const user = await writerOf(path, exec);
    const unit = { volumeId, dataDir: pool.dataDir };
    await exec.run('systemctl', ['stop', commitUnitName(unit)], { ...about, okCodes: [NOT_LOADED] });
    const reads = inPool?.backing === undefined ? [] : [inPool.backing];
    const args = commitUnitArgs({ ...unit, user, reads, writes: [path, this.whole], fileBytes }, argv);
    await exec.run('systemd-run', args, about);
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }

  private get what(): string {
    return `changing the guest on volume ${this.disk.volumeId}`;
  }
}

/**
 * Who can write to a volume in a pool. Here nobody in particular can, with a capability; a file server knows none, lets only the owner,
 * and may take root for another.
 */
export async function writerOf(
  path: string,
  exec: Pick<ServeParts['exec'], 'sandboxUser'>,
  onServer = isOnServer,
): Promise<string> {
  return (await onServer(path)) ? String((await stat(path)).uid) : (await exec.sandboxUser()).name;
}

/** systemctl's word for a unit that is not there. */
const NOT_LOADED = 5;
const COMMIT = 'commit.qcow2';
/** Beside it: how the volume was when it was sealed, and that it is being put in. */
const NOTED = 'sealed-over';
const BEGUN = 'begun';
const COMMIT_MS = 60 * 60_000;
/** What a guest's system files and the caches of the tools may take, and slack. */
const ROOM_BYTES = 256 * 2 ** 20;

/** Volumes whose changes are whole, but perhaps not all in them. */
export async function unfinishedIn(pool: Pool): Promise<string[]> {
  const ids = await readdir(pool.customizeDir).catch(() => []);
  const whole = await Promise.all(
    ids.map(async (id) => ((await sizeOf(join(pool.customizeDir, id, COMMIT))) ? [id] : [])),
  );
  return whole.flat();
}

const halfDone = ({ volumeId }: GuestDisk, cause: unknown): ClusterError =>
  new ClusterError(
    'RESOURCE_BUSY',
    `volume ${volumeId} has got a part of the changes to its guest, and is in use by another program on this host: end that, ` +
      `the rest is put in then`,
    {},
    { cause },
  );

/** QEMU holds a lock on what a guest runs on. */
export function explain(e: unknown, disk: GuestDisk): unknown {
  if (!isClusterError(e)) return e;
  const said = `${e.message} ${String(e.meta['stderr'] ?? '')}`;
  if (/Failed to get .*lock|another process using/i.test(said))
    return new ClusterError(
      'IN_USE',
      `volume ${disk.volumeId} is in use by another program on this host; nothing was changed in it`,
    );
  return e;
}
