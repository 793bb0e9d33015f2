/**
 * A login on a guest's first serial port: the kernel speaks there (GRUB's generated file and its defaults, BLS entries, extlinux,
 * syslinux), a getty listens there, and root may log in there. Pure.
 */
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { Change } from '../drivers/guest-disks.ts';
import { link, linesOf, NOTHING, remove, textOf, write, type Guest, type Plan } from './guest.ts';

/** The last one is where the system's own messages go. The screen keeps its login. */
const CONSOLES = 'console=tty0 console=ttyS0,115200';
const HAS = /\bconsole=ttyS0\b/;

export function planSerial(guest: Guest, wanted: boolean): Plan {
  if (!wanted) return NOTHING;
  const boot = bootFiles(guest);
  if (boot.found === 0)
    throw unsupported(
      `${guest.title} has no boot loader that is known here (GRUB, extlinux, BLS entries), so its kernel can't be told of its serial ` +
        'port. If it is booted with a kernel of its host, add console=ttyS0 to its definition: berth vm set NAME --set kernel.arguments=…',
    );
  return { changes: [...boot.changes, ...getty(guest), ...securetty(guest)], words: ['a login on its serial port'] };
}

function bootFiles(guest: Guest): { found: number; changes: Change[] } {
  const all = [
    ...edited(
      guest,
      /^\/boot\/(grub|grub2)\/grub\.cfg$|^\/boot\/efi\/EFI\/[^/]+\/grub\.cfg$|^\/boot\/grub\/(menu\.lst|grub\.conf)$/,
      grubLine,
    ),
    ...edited(guest, /^\/boot\/loader\/entries\/[^/]+\.conf$/, (l) =>
      /\$kernelopts/.test(l) ? l : after(l, /^options\b/),
    ),
    ...edited(guest, /^\/boot\/(extlinux\/|syslinux\/)?(extlinux|syslinux)\.conf$/, (l) => after(l, /^\s*append\b/i)),
    ...edited(guest, /^\/etc\/kernel\/cmdline$/, (l) =>
      l.trim() === '' || HAS.test(l) ? l : `${l.trimEnd()} ${CONSOLES}`,
    ),
    ...edited(guest, /^\/etc\/update-extlinux\.conf$/, (l) => quoted(l, 'default_kernel_opts')),
  ];
  const environment = grubEnvironment(guest);
  const defaults = edited(guest, /^\/etc\/default\/grub$/, (l) => quoted(l, 'GRUB_CMDLINE_LINUX'));
  return {
    found: all.length + environment.length,
    changes: [...all, ...defaults, ...environment].flatMap((f) => f.changes),
  };
}

/** Files that match, with what becomes of them; nothing where they say it already. */
function edited(guest: Guest, pattern: RegExp, edit: (line: string) => string): { changes: Change[] }[] {
  return guest.paths(pattern).flatMap((path) => {
    const text = guest.text(path);
    if (text === undefined) return [];
    const now = textOf(linesOf(text).map(edit));
    return [{ changes: now === text ? [] : [write(path, now)] }];
  });
}

const after = (line: string, head: RegExp): string =>
  head.test(line) && !HAS.test(line) ? `${line.trimEnd()} ${CONSOLES}` : line;

/** linux, linux16, linuxefi of GRUB 2; kernel of the older one. A kernel that has `quiet` stays quiet. */
const grubLine = (line: string): string =>
  /vmlinuz|\/linux\b|bzImage/.test(line) ? after(line, /^\s*(linux(16|efi)?|kernel)\s/) : line;

function quoted(line: string, name: string): string {
  const m = new RegExp(`^(${name}=)(["']?)(.*?)\\2\\s*$`).exec(line);
  if (!m || HAS.test(line)) return line;
  return `${m[1]}"${`${m[3]} ${CONSOLES}`.trim()}"`;
}

const BLOCK = 1024;

/** Where BLS entries say `$kernelopts`: a file of exactly 1024 bytes, filled up with #. */
function grubEnvironment(guest: Guest): { changes: Change[] }[] {
  return guest.paths(/^\/boot\/grub2\/grubenv$|^\/boot\/efi\/EFI\/[^/]+\/grubenv$/).flatMap((path) => {
    const text = guest.text(path) ?? '';
    if (!/^kernelopts=/m.test(text)) return [];
    const lines = text
      .replace(/#+\n?$/, '')
      .split('\n')
      .filter((l) => l !== '');
    const now = `${lines.map((l) => after(l, /^kernelopts=/)).join('\n')}\n`;
    if (now.length > BLOCK) throw unsupported(`${path} of the guest has no room for the kernel's arguments`);
    const filled = now.padEnd(BLOCK, '#');
    return [{ changes: filled === text ? [] : [write(path, filled)] }];
  });
}

function getty(guest: Guest): Change[] {
  if (guest.systemd) {
    const unit = 'serial-getty@ttyS0.service';
    const own = `/etc/systemd/system/${unit}`;
    const masked = guest.entry(own);
    const target = guest.has('/usr/lib/systemd/system/serial-getty@.service') ? '/usr/lib' : '/lib';
    return [
      ...(masked?.kind === 'link' && masked.target === '/dev/null' ? [remove(own)] : []),
      link(`/etc/systemd/system/getty.target.wants/${unit}`, `${target}/systemd/system/serial-getty@.service`),
    ];
  }
  if (guest.has('/etc/init/rc.conf', '/etc/init/tty1.conf')) return [write('/etc/init/ttyS0.conf', UPSTART)];
  if (!guest.has('/etc/inittab')) return [];
  const lines = linesOf(guest.text('/etc/inittab') ?? '');
  if (lines.some((l) => /^[^#]*\bttyS0\b/.test(l))) return [];
  const busybox = lines.some((l) => /^\S*::(sysinit|respawn|ctrlaltdel|shutdown)/.test(l));
  const line = busybox
    ? 'ttyS0::respawn:/sbin/getty -L ttyS0 115200 vt100'
    : 'S0:2345:respawn:/sbin/getty -L ttyS0 115200 vt100';
  return [write('/etc/inittab', textOf([...lines, line]))];
}

const UPSTART = `# Written by Berth: a login on the first serial port.
start on stopped rc or RUNLEVEL=[12345]
stop on runlevel [!12345]
respawn
exec /sbin/getty -L 115200 ttyS0 vt102
`;

/** Where it is there, root may log in on its lines alone. */
function securetty(guest: Guest): Change[] {
  const text = guest.text('/etc/securetty');
  if (text === undefined) return [];
  const lines = linesOf(text);
  return lines.some((l) => l.trim() === 'ttyS0') ? [] : [write('/etc/securetty', textOf([...lines, 'ttyS0']))];
}
