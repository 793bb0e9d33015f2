/**
 * Whether a guest talks on its serial port, as far as its serial log tells, and what to change in it if it does not. Looks at what
 * is kept; types nothing.
 */
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Context } from '../core/context.ts';

const LOOK_BYTES = 256 * 1024;

const KERNEL =
  'Its kernel needs console=ttyS0: in /etc/default/grub, GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200", ' +
  'then update-grub (or grub2-mkconfig -o /boot/grub2/grub.cfg), and a reboot.';
const GETTY =
  'For a login: systemctl enable --now serial-getty@ttyS0.service; without systemd a line in /etc/inittab: ' +
  'S0:2345:respawn:/sbin/getty -L ttyS0 115200 vt100. ' +
  'If root is refused there, add ttyS0 to /etc/securetty.';

/** From outside: for guests that nobody can log in to. */
const fix = (vm: string): string =>
  `Or, without a login, on its disk (Linux guests): berth vm stop ${vm}, then berth vm customize ${vm} --serial-login`;

/** Said once to somebody who presses Enter and hears nothing. */
export const silentHint = (vm: string): string =>
  [
    '\nThe guest says nothing. It may still boot, hang, or have no login on its serial port (ttyS0). For the latter, in the guest:',
    KERNEL,
    GETTY,
    fix(vm),
    'Its screen: berth vm vnc, or berth vm screenshot. What it ever printed: berth vm log.',
  ].join('\n  ');

const ESCAPES = /\x1b\[[\d;?]*[A-Za-z]/g;
/** Of a shell: `root@web:~#`, `web#`, `[me@web ~]$`. */
const PROMPT = /^[\w.@:~/[\] -]{1,80}[#$]$/;

export type Finding = 'nothing' | 'firmware' | 'kernel' | 'login' | 'something';

/** @param text the end of what it printed. */
export function finding(text: string): Finding {
  if (text.trim() === '') return 'nothing';
  const boot = Math.max(text.lastIndexOf('Linux version '), text.lastIndexOf('SeaBIOS (version'), 0);
  const last = text.slice(boot).replaceAll(ESCAPES, '');
  const line = last.trimEnd().split(/\r?\n/).at(-1) ?? '';
  if (/\blogin: |^Password: /im.test(`${last} `) || PROMPT.test(line)) return 'login';
  if (/^\[ *\d+\.\d{6}\]|Linux version |systemd\[1\]|random: crng init/m.test(last)) return 'kernel';
  if (/SeaBIOS|iPXE|GRUB|BdsDxe|UEFI/i.test(last)) return 'firmware';
  return 'something';
}

const WORDS: Readonly<Record<Finding, (vm: string, kept: string) => string>> = {
  nothing: (vm) =>
    `${vm} has never printed anything on its serial port.\n${KERNEL}\n${GETTY}\n${fix(vm)}\nIf it has not been started yet, start it first.`,
  firmware: (vm, kept) =>
    `${vm} has printed ${kept}, of its firmware or boot loader alone: its kernel is silent.\n${KERNEL}\n${GETTY}\n${fix(vm)}`,
  kernel: (vm, kept) =>
    `${vm} has printed ${kept}: its kernel talks there, but no login was seen.\n${GETTY}\n${fix(vm)}`,
  login: (vm, kept) => `${vm} has printed ${kept} and shows a login or a shell: berth vm console ${vm}`,
  something: (vm, kept) =>
    `${vm} has printed ${kept}; no login was seen among it. Try: berth vm console ${vm}, and press Enter.\n${GETTY}\n${fix(vm)}`,
};

export const inWords = (vm: string, text: string, bytes: number): string =>
  WORDS[finding(text)](vm, bytes >= LOOK_BYTES ? `at least ${formatBytes(LOOK_BYTES)}` : `${bytes} bytes`);

/** Reads the end of the log of `vm`. */
export async function checkSerial(ctx: Context, vm: string): Promise<{ words: string; found: Finding }> {
  const api = await ctx.api();
  const parts: Uint8Array[] = [];
  const request = { vm, tailBytes: BigInt(LOOK_BYTES), follow: false };
  for await (const { data } of api.stream(api.vms, (c) => c.readVmLog, request, ctx.signal)) parts.push(data);
  const all = Buffer.concat(parts);
  const text = all.toString('utf8');
  return { words: inWords(vm, text, all.length), found: finding(text) };
}
