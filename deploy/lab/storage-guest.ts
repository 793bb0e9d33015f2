/**
 * The storage guest: a machine in a lab host whose own kernel knows LVM, iSCSI and NFS, which that of this machine may not. Its
 * libvirt is reached through a socket here, so that the agent's parts run against it, without an agent under emulation.
 */
import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { findRoot } from '../setup/root.js';
import type { LabHost } from './host.ts';
import { storageGuestPath } from './recipe.js';

const LIBVIRT_PORT = 16509;
const SHELL_PORT = 16510;
const CONSOLE = '/var/log/storage-guest.log';
const BOOT_MS = 300_000;
const STEP_MS = 500;

export interface StorageGuest {
  /** Ends with its lab host; this closes the socket. */
  close(): void;
  /** What a script prints in the guest, as root. */
  run(script: string): Promise<string>;
}

/** Resolves when its libvirt answers. @param socketPath where it shall be reached here */
export async function startStorageGuest(host: LabHost, socketPath: string): Promise<StorageGuest> {
  const inside = path.join('/opt/berth', path.relative(findRoot(), storageGuestPath()));
  const ports = [LIBVIRT_PORT, SHELL_PORT].map((p) => `hostfwd=tcp::${p}-:${p}`).join(',');
  const argv = [
    ...['qemu-system-x86_64', '-daemonize', '-accel', 'tcg,thread=multi', '-smp', '2', '-m', '1024'],
    // with SVM it would have a KVM, and libvirt would ask QEMU anew what it can, for half a minute, whenever one opens /dev/kvm
    ...['-cpu', 'qemu64,-svm', '-display', 'none'],
    ...['-kernel', `${inside}/vmlinuz`, '-initrd', `${inside}/initrd`, '-serial', `file:${CONSOLE}`],
    ...['-append', 'console=ttyS0 net.ifnames=0 quiet', '-nic', `user,model=virtio-net-pci,${ports}`],
    ...['-drive', `file=/var/tmp/storage.qcow2,if=virtio`, '-drive', 'file=/var/tmp/data.raw,format=raw,if=virtio'],
  ];
  const overlay = ['-f', 'qcow2', '-F', 'qcow2', '-b', `${inside}/disk.qcow2`, '/var/tmp/storage.qcow2'];
  await host.run(['qemu-img', 'create', '-q', ...overlay]);
  await host.run(['truncate', '-s', '256M', '/var/tmp/data.raw']);
  await host.run(argv);
  await untilReady(host);
  const server = await relay(socketPath, () => connect(LIBVIRT_PORT, host.address));
  return {
    close: () => {
      server.close();
      rmSync(socketPath, { force: true });
    },
    run: (script) => shell(connect(SHELL_PORT, host.address), script),
  };
}

async function untilReady(host: LabHost): Promise<void> {
  for (const deadline = systemClock.monotonic() + BOOT_MS; ; await systemClock.sleep(STEP_MS)) {
    const { stdout } = await host.exec(['cat', CONSOLE]);
    if (stdout.includes('berth-storage: ready')) return;
    if (systemClock.monotonic() > deadline) throw new Error(`the storage guest is not ready: ${stdout.slice(-500)}`);
  }
}

function relay(socketPath: string, dial: () => Socket): Promise<Server> {
  const server = createServer((client) => {
    const there = dial();
    client.pipe(there).pipe(client);
    for (const [a, b] of [
      [client, there],
      [there, client],
    ] as const)
      a.on('error', () => b.destroy()).on('close', () => b.destroy());
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => resolve(server));
  });
}

function shell(socket: Socket, script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    socket.on('data', (d: Buffer) => (said += d.toString()));
    socket.once('end', () => resolve(said.trim()));
    socket.once('error', reject);
    // whoever says goodbye first is not answered
    // socat gives up at once, with what it has not passed on, when the shell ends with the status of a failed command
    socket.write(`${script}\nexit 0\n`);
  });
}
