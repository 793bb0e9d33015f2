/** What is said to guestfish, and the overlay that makes its changes whole or none: with real qcow2 files, without guestfish. */
import { chmodSync, chownSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { GuestEntry } from '../../guest-disks.ts';
import { createPool, preparePool } from '../disks/pool.ts';
import type { Exec } from '../exec.ts';
import { describeReal, exec, tempDir } from '../fixture/real.ts';
import { installAppliance, isWholeAppliance } from './appliance.ts';
import { quote, type Guestfish } from './guestfish.ts';
import { createGuestDisks, inWords } from './guest-disks.ts';
import { mountGuest, readFstab } from './mounts.ts';
import { Overlay, unfinishedIn } from './overlay.ts';
import { commandsFor } from './write-guest.ts';

describe('the words for guestfish', () => {
  it('mean themselves, whatever is in them', () => {
    expect(quote('a "b" \\c\n\td $x `y` ä')).toBe('"a \\"b\\" \\\\c\\n\\td $x `y` ä"');
    expect(() => quote('a\0')).toThrow(/zero bytes/);
    expect(quote('x"\nrm-rf /\n"')).not.toContain('\n');
  });

  it('keep a regular file as it is but for its text, and replace whatever else is there', () => {
    const found = new Map<string, GuestEntry>([
      ['/etc/hosts', { kind: 'file', text: 'x' }],
      ['/etc/hostname', { kind: 'link', target: '/dev/sda', text: undefined }],
    ]);
    const said = commandsFor(
      [
        { kind: 'write', path: '/etc/hosts', text: 'a' },
        { kind: 'write', path: '/etc/hostname', text: 'b' },
        { kind: 'write', path: '/root/.ssh/authorized_keys', text: 'c', mode: 0o600, owner: { uid: 1, gid: 2 } },
        { kind: 'remove', path: '/var/log/*.log' },
        { kind: 'link', path: '/etc/a', target: '/b' },
      ],
      found,
    );
    expect(said).toEqual([
      'write "/etc/hosts" "a"',
      ...['mkdir-p "/etc"', 'rm-f "/etc/hostname"', 'write "/etc/hostname" "b"', 'chmod 0644 "/etc/hostname"'],
      ...['mkdir-p "/root/.ssh"', 'rm-f "/root/.ssh/authorized_keys"', 'write "/root/.ssh/authorized_keys" "c"'],
      ...['chmod 0600 "/root/.ssh/authorized_keys"', 'chown 1 2 "/root/.ssh/authorized_keys"'],
      '-glob rm-rf "/var/log/*.log"',
      ...['mkdir-p "/etc"', 'rm-rf "/etc/a"', 'ln-s "/b" "/etc/a"'],
    ]);
  });

  it('mount of an fstab what system files lie on, the outer first, and take no option but a subvolume', () => {
    const text =
      '# x\nUUID=1 / ext4 rw 0 1\n/dev/vda2 /boot/efi vfat umask=077 0 1\nLABEL=b /boot ext4 exec 0 2\nU /home btrfs subvol=@home,x 0 0\n//h/s /srv cifs x 0 0\n/dev/vdb /var/../etc ext4 x\n';
    expect(readFstab(text)).toEqual([
      { spec: 'LABEL=b', point: '/boot', options: '' },
      { spec: '/dev/vda2', point: '/boot/efi', options: '' },
      { spec: 'U', point: '/home', options: 'subvol=@home' },
    ]);
  });

  it('open no fstab that is none: a pipe in its place would be waited for', async () => {
    const said: string[] = [];
    const answers = new Map([
      ['list-filesystems', '/dev/sda: ext4\n'],
      ['-mount-ro "/dev/sda" /', 'true\n'.repeat(6)],
      ['-lstatns "/etc/fstab"', `st_mode: ${0o010644}\nst_size: 0\n`],
    ]);
    const ask = async (...commands: readonly string[]): Promise<Buffer> => {
      said.push(...commands);
      return Buffer.from(answers.get(commands[0] ?? '') ?? '');
    };
    const lines = async (command: string) => (await ask(command)).toString('utf8').split('\n').filter(Boolean);
    await mountGuest({ ask, lines } as unknown as Guestfish);
    expect(said).toContain('mount "/dev/sda" /');
    expect(said.filter((c) => c.startsWith('-pread'))).toEqual([]);
  });

  it('tell a file system of the guest that is full from one of the host', () => {
    const of = (stderr: string) =>
      inWords(new ClusterError('DISK_FULL', 'no space left', { program: 'guestfish', stderr }), {
        volumeId: 'volume-1',
      });
    expect(of('libguestfs: error: write: open: /etc/hostname: No space left on device\n')).toMatchObject({
      reason: 'BAD_STATE',
      message: 'the file system of the guest on volume volume-1 is full; nothing was changed in it',
    });
    expect(of('qemu-img: /x: No space left on device\n')).toMatchObject({ reason: 'DISK_FULL' });
  });
});

const MIB = 2 ** 20;
const text = (disk: { path: string }, at: number) =>
  exec.run('qemu-io', ['-r', '-f', 'qcow2', '-c', `read -v ${at} 512`, disk.path]).then((r) => r.stdout);

describeReal('changes to a volume', ['qemu-img', 'qemu-io'], () => {
  async function world() {
    const dataDir = join(tempDir(), 'd');
    await mkdir(dataDir, { mode: 0o711 });
    const pool = createPool(dataDir);
    await preparePool(pool);
    const path = pool.volumePath('volume-1', false);
    writeFileSync(path, emptyQcow2(64 * MIB), { mode: 0o600 });
    const disk = { volumeId: 'volume-1', path, format: 'qcow2' as const, sizeBytes: 64 * MIB };
    return { pool, disk, overlay: new Overlay({ exec, pool, clock: systemClock }, disk) };
  }
  /** As guestfish would: as the unprivileged user. */
  const change = (overlay: Overlay, what: Exec = exec) =>
    overlay.lending('read', () =>
      what.runConfined('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x42 1M 1M', overlay.path], {
        limits: { fileBytes: 64 * MIB },
      }),
    );
  const has = async (disk: { path: string }) => (await text(disk, MIB)).includes('42 42 42 42');

  it('of one that lies in a pool are made without lending it to anybody, and put in beside its image', async () => {
    const { pool, disk: own } = await world();
    const path = join(tempDir(), 'volume-1.qcow2');
    const image = pool.imagePath(`sha256:${'ab'.repeat(32)}`);
    writeFileSync(image, emptyQcow2(32 * MIB), { mode: 0o644 });
    writeFileSync(path, emptyQcow2(64 * MIB, image), { mode: 0o600 });
    await exec.run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x17 5M 64k', path]);
    const disk = { ...own, path, inPool: { backing: image } };
    const overlay = new Overlay({ exec, pool, clock: systemClock }, disk);
    const words = ['-c', 'read -P 0x17 5M 64k', '-c', 'read -P 0 40M 64k', '-c', 'write -P 0x42 1M 1M'];
    const during = await overlay.begin(new AbortController().signal, async () => {
      const { stdout } = await exec.runConfined('qemu-io', ['-f', 'qcow2', ...words, overlay.path], {
        limits: { fileBytes: 64 * MIB },
      });
      expect(stdout).not.toMatch(/failed/);
      return stat(path);
    });
    expect(during).toMatchObject({ mode: 0o100600, uid: 0, gid: 0 });
    expect(await has(disk)).toBe(false);
    await overlay.seal();
    await overlay.commit();
    expect(await has(disk)).toBe(true);
    expect(statSync(path)).toMatchObject({ mode: 0o100600, uid: 0, gid: 0 });
    const other = new Overlay({ exec, pool, clock: systemClock }, { ...disk, inPool: { backing: undefined } });
    const begun = other.begin(new AbortController().signal, () => Promise.reject(new Error('begun')));
    await expect(begun).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
  });

  /** Another program has it open for writing, until the result is called. */
  async function hold(disk: { path: string }): Promise<() => Promise<unknown>> {
    const holder = new AbortController();
    const held = exec.run('qemu-nbd', ['-t', '-k', `${disk.path}.s`, '-f', 'qcow2', disk.path], {
      signal: holder.signal,
      timeoutMs: 0,
    });
    held.catch(() => undefined);
    await expect
      .poll(
        () =>
          stat(`${disk.path}.s`).then(
            () => true,
            () => false,
          ),
        { timeout: 20_000 },
      )
      .toBe(true);
    return () => {
      holder.abort();
      return held.catch(() => undefined);
    };
  }

  it('are made in no file that a link in its place leads to, which stays as it is', async () => {
    const { disk, overlay } = await world();
    const secret = `${disk.path}.secret`;
    writeFileSync(secret, 'root', { mode: 0o600 });
    const before = await stat(secret);
    await overlay.create();
    await rm(disk.path);
    await symlink(secret, disk.path);
    await expect(change(overlay)).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
    await expect(overlay.create()).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
    const { mode, uid, gid, ctimeMs } = await stat(secret);
    expect({ mode, uid, gid, ctimeMs }).toEqual({
      mode: before.mode,
      uid: before.uid,
      gid: before.gid,
      ctimeMs: before.ctimeMs,
    });
  });

  it('are not in it before they are whole, and all in it afterwards, with nothing left over', async () => {
    const { pool, disk, overlay } = await world();
    const before = readFileSync(disk.path);
    await overlay.create();
    await change(overlay);
    expect(readFileSync(disk.path).equals(before)).toBe(true);
    expect(await unfinishedIn(pool)).toEqual([]);
    await overlay.seal();
    expect(await unfinishedIn(pool)).toEqual(['volume-1']);
    await overlay.commit();
    await overlay.remove();
    expect(await has(disk)).toBe(true);
    expect(await unfinishedIn(pool)).toEqual([]);
    expect(statSync(disk.path)).toMatchObject({ mode: 0o100600, uid: 0, gid: 0 });
  });

  it('are forgotten when they were not whole, and finished when they were, whoever gives them up', async () => {
    const { pool, disk, overlay } = await world();
    const guests = createGuestDisks({ dataDir: pool.dataDir, unprivilegedUser: 'nobody', clock: systemClock });
    await overlay.create();
    await change(overlay);
    // killed while it was lent
    chownSync(disk.path, 0, (await exec.sandboxUser()).gid);
    chmodSync(disk.path, 0o640);
    await guests.drop(disk);
    expect(statSync(disk.path)).toMatchObject({ mode: 0o100600, uid: 0, gid: 0 });
    expect(await has(disk)).toBe(false);
    await overlay.create();
    await change(overlay);
    await overlay.seal();
    await guests.drop(disk);
    expect(await has(disk)).toBe(true);
    await guests.drop(disk);
  });

  it('are finished by a repetition after kill -9 in the middle of putting them in', async () => {
    const { pool, disk, overlay } = await world();
    await overlay.create();
    await change(overlay);
    await overlay.seal();
    const killed = {
      ...exec,
      runConfined: (p: string, a: readonly string[]) => exec.runConfined('timeout', ['-s', 'KILL', '0.01', p, ...a]),
    };
    await new Overlay({ exec: killed as Exec, pool, clock: systemClock }, disk).commit().catch(() => undefined);
    expect(await unfinishedIn(pool)).toEqual(['volume-1']);
    // what the edit would do from here on has been done already: it is never asked
    const never = () => {
      throw new Error('asked');
    };
    const edit = { looks: [], plan: never, allowed: never, accelerated: false };
    const work = { signal: new AbortController().signal, onProgress: () => undefined };
    await createGuestDisks({ dataDir: pool.dataDir, unprivilegedUser: 'nobody', clock: systemClock }).edit(
      disk,
      edit,
      work,
    );
    expect(await has(disk)).toBe(true);
    expect(await unfinishedIn(pool)).toEqual([]);
  });

  it('can be made by the unprivileged user in the overlay alone, and the volume is lent for no longer than that', async () => {
    const { disk, overlay } = await world();
    await overlay.create();
    const attempt = overlay.lending('read', () =>
      exec.runConfined('qemu-io', ['-f', 'qcow2', '-c', 'write 0 512', disk.path], {}),
    );
    await expect(attempt).rejects.toThrow(/Permission denied/);
    expect((await stat(disk.path)).mode & 0o777).toBe(0o600);
    await expect(exec.runConfined('head', ['-c', '1', disk.path])).rejects.toThrow(/Permission denied/);
  });

  it('are refused when a link stands in their place, and leave no trap for root', async () => {
    const { pool, disk, overlay } = await world();
    const secret = join(pool.dataDir, 'secret');
    writeFileSync(secret, 'root', { mode: 0o600 });
    await overlay.create();
    for (const name of ['.sealed-over.half', 'begun', '.begun.half']) await symlink(secret, join(overlay.dir, name));
    await change(overlay);
    await overlay.seal();
    await overlay.commit();
    expect(await has(disk)).toBe(true);
    await overlay.create();
    await rm(overlay.path);
    await symlink(secret, overlay.path);
    await expect(overlay.seal()).rejects.toThrow('is not what a program was to make');
    expect([readFileSync(secret, 'utf8'), (await stat(secret)).mode & 0o777]).toEqual(['root', 0o600]);
  });

  it('go into the volume and nowhere else, whatever the overlay says that it belongs to', async () => {
    const { pool, disk, overlay } = await world();
    const victim = pool.volumePath('volume-2', false);
    writeFileSync(victim, emptyQcow2(64 * MIB), { mode: 0o666 });
    await overlay.create();
    await change(overlay);
    await exec.run('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', victim, overlay.path]);
    const before = readFileSync(victim);
    await overlay.seal();
    await overlay.commit();
    expect(readFileSync(victim).equals(before)).toBe(true);
    expect(await has(disk)).toBe(true);
  });

  it('do not go into a volume that another program has open for writing', async () => {
    const { disk, overlay } = await world();
    await overlay.create();
    await change(overlay);
    await overlay.seal();
    const release = await hold(disk);
    await expect(overlay.commit()).rejects.toMatchObject({
      reason: 'IN_USE',
      message: expect.stringMatching(/in use by another program/),
    });
    await release();
  });

  it('stay where they are when a part of them is in the volume and another program has it, and are put in later', async () => {
    const { pool, disk, overlay } = await world();
    const guests = createGuestDisks({ dataDir: pool.dataDir, unprivilegedUser: 'nobody', clock: systemClock });
    await overlay.create();
    await change(overlay);
    await overlay.seal();
    const killed = { ...exec, runConfined: () => Promise.reject(new Error('killed')) };
    await new Overlay({ exec: killed as unknown as Exec, pool, clock: systemClock }, disk)
      .commit()
      .catch(() => undefined);
    const release = await hold(disk);
    await expect(guests.drop(disk)).rejects.toMatchObject({ reason: 'RESOURCE_BUSY' });
    expect(await unfinishedIn(pool)).toEqual(['volume-1']);
    await release();
    await guests.drop(disk);
    expect(await has(disk)).toBe(true);
    expect(await unfinishedIn(pool)).toEqual([]);
  });

  it('are forgotten when the volume has changed since, and nothing of them is in it', async () => {
    const { pool, disk, overlay } = await world();
    await overlay.create();
    await change(overlay);
    await overlay.seal();
    await exec.run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x17 1M 1M', disk.path]);
    await createGuestDisks({ dataDir: pool.dataDir, unprivilegedUser: 'nobody', clock: systemClock }).drop(disk);
    expect(await text(disk, MIB)).toContain('17 17 17 17');
    expect(await unfinishedIn(pool)).toEqual([]);
  });
});

describeReal('the appliance', [], () => {
  it('is root’s when it is made, whole when it says so, and taken from no link', async () => {
    const top = tempDir();
    const [work, dir] = [join(top, 'work'), join(top, 'a')];
    const { uid, gid } = await exec.sandboxUser();
    const made = join(work, 'made');
    await mkdir(made, { recursive: true });
    for (const name of ['kernel', 'initrd', 'root']) {
      writeFileSync(join(made, name), 'x');
      chownSync(join(made, name), uid, gid);
    }
    for (const path of [work, made]) chownSync(path, uid, gid);
    await installAppliance(made, dir);
    expect(await isWholeAppliance(dir)).toBe(true);
    for (const path of [dir, join(dir, 'root')]) expect(statSync(path)).toMatchObject({ uid: 0, gid: 0 });
    writeFileSync(join(dir, 'README.fixed'), '');
    expect(await isWholeAppliance(dir)).toBe(false);
    const before = statSync(top).mode;
    await symlink(top, made);
    await expect(installAppliance(made, dir)).rejects.toThrow('is no folder');
    expect(statSync(top).mode).toBe(before);
  });
});
