/**
 * The machine that packages are tried on: a Debian with its own kernel, systemd and AppArmor, emulated in a lab host. Scripts run in
 * it as root; it can be booted again. Slow, as all emulation: for one test, which `npm test` leaves out.
 */
import { connect } from 'node:net';
import path from 'node:path';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { findRoot } from '../setup/root.js';
import { dockerSocket } from '../setup/docker-api.js';
import { dockerHost } from './config.ts';
import { buildInstallGuest, installGuestExists } from './debian-image.js';
import type { LabHost } from './host.ts';
import { installGuestPath } from './recipe.js';

const SHELL_PORT = 16510;
const CONSOLE = '/var/log/install-guest.log';
const DISKS = { system: '/var/tmp/install.qcow2', files: '/var/tmp/files.raw' };
const FILES_MIB = 768;
const BOOT_MS = 900_000;
const STEP_MS = 1_000;
/** After the script, so that its end is told from a connection that broke. */
const ENDED = 'berth-ended';

export class InstallGuest {
  private constructor(private readonly host: LabHost) {}

  /** @param files a folder of the checkout that the machine has, read-only, under /mnt. */
  static async start(host: LabHost, files: string): Promise<InstallGuest> {
    if (!installGuestExists()) await buildInstallGuest(dockerSocket(dockerHost()));
    const made = inside(installGuestPath());
    const overlay = ['-f', 'qcow2', '-F', 'qcow2', '-b', `${made}/disk.qcow2`, DISKS.system];
    await host.run(['qemu-img', 'create', '-q', ...overlay]);
    await host.run(['mke2fs', '-q', '-t', 'ext4', '-d', inside(files), DISKS.files, `${FILES_MIB}m`]);
    const disk = (file: string, format: string) => ['-drive', `file=${file},format=${format},if=virtio,cache=unsafe`];
    await host.run([
      ...['qemu-system-x86_64', '-daemonize', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '2560'],
      ...['-display', 'none', '-kernel', `${made}/vmlinuz`, '-initrd', `${made}/initrd`, '-serial', `file:${CONSOLE}`],
      ...['-append', 'console=ttyS0 net.ifnames=0 quiet random.trust_cpu=on tsc=reliable'],
      ...['-nic', `user,model=virtio-net-pci,hostfwd=tcp::${SHELL_PORT}-:${SHELL_PORT}`],
      ...[...disk(DISKS.system, 'qcow2'), ...disk(DISKS.files, 'raw')],
    ]);
    const guest = new InstallGuest(host);
    await guest.untilBooted('none');
    return guest;
  }

  /** What a script prints, errors included; throws where it fails. */
  async sh(script: string): Promise<string> {
    const { code, said } = await this.try(script);
    if (code !== 0) throw new Error(`${script}\nended with ${code}: ${said}`);
    return said;
  }

  async try(script: string): Promise<{ readonly code: number; readonly said: string }> {
    const told = await this.typed(`exec 2>&1; (set -e; ${script}\n); echo "${ENDED} $?"; exit\n`);
    const [, said = '', code] = new RegExp(`^(.*)${ENDED} (\\d+)\\n$`, 's').exec(told) ?? [];
    if (code === undefined) throw new Error(`the machine did not end the script: ${script}\n${told}`);
    return { code: Number(code), said: said.trim() };
  }

  /** As a person would; resolves when all units that start with it have started. */
  async reboot(): Promise<void> {
    const before = await this.bootId();
    await this.typed('systemctl reboot; exit\n');
    await this.untilBooted(before);
  }

  private bootId(): Promise<string> {
    return this.sh('cat /proc/sys/kernel/random/boot_id');
  }

  private async untilBooted(before: string): Promise<void> {
    let last = '';
    for (const deadline = systemClock.monotonic() + BOOT_MS; ; await systemClock.sleep(STEP_MS)) {
      try {
        if ((await this.bootId()) !== before) return void (await this.try('systemctl is-system-running --wait'));
      } catch (e) {
        last = String(e);
      }
      if (systemClock.monotonic() < deadline) continue;
      const { stdout } = await this.host.exec(['tail', '-c', '2000', CONSOLE]);
      throw new Error(`the machine has not booted: ${last}\n${stdout}`);
    }
  }

  private typed(text: string): Promise<string> {
    const socket = connect(SHELL_PORT, this.host.address);
    return new Promise((resolve, reject) => {
      let said = '';
      socket.on('data', (d: Buffer) => (said += d.toString()));
      socket.once('close', () => resolve(said));
      socket.once('error', reject);
      socket.write(text);
    });
  }
}

/** Where a lab host sees a file of the checkout. */
const inside = (file: string): string => path.join('/opt/berth', path.relative(findRoot(), file));
