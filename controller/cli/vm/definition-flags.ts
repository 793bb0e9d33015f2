/**
 * The flags that say what a VM is made of, shared by create, clone and set: each fills a part of the definition's form, so that
 * the same names and values hold as in files, and the same words say what is wrong.
 */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { readForm } from '@berth/shared/hardware/form.ts';
import { definitionSchema, type VmDefinition } from '@berth/shared/hardware/definition.ts';
import type { Flag, Flags } from '../core/command.ts';
import { list, text, yes } from '../core/command.ts';
import { readText } from '../core/files.ts';

export type Form = Record<string, unknown>;

/** What virt-install has words for; the rest can be said with --set, or in a file. */
export const DEFINITION_FLAGS: readonly Flag[] = [
  {
    spec: '--cdrom <image>',
    description: 'a CD-ROM drive with this image in it: IMAGE,bus=ide; empty: a drive without one',
    many: true,
  },
  { spec: '--os-variant <guest>', description: 'what nothing else is said of fits this guest (see: berth vm guests)' },
  { spec: '--machine <type>', description: 'q35 (default), pc, or a versioned name of either' },
  { spec: '--firmware <type>', description: 'what it boots with', choices: ['bios', 'uefi', 'uefi-secure'] },
  {
    spec: '--cpu <model>',
    description: 'host-model (default), host-passthrough, or a name: Skylake-Client,sockets=1,cores=2,threads=2',
  },
  { spec: '--tpm', description: 'an emulated TPM 2.0' },
  { spec: '--boot <devices>', description: 'what it boots from, in order: disk,cdrom,network,menu=true' },
  { spec: '--graphics <type>', description: 'vnc, spice or none: vnc,listen=0.0.0.0,port=5910,keymap=de', many: true },
  { spec: '--graphics-password-file <file>', description: 'a password for its graphics, in a file', kind: 'file' },
  {
    spec: '--vnc-port <port>',
    description: 'VNC on this port of its host (of 127.0.0.1, unless --graphics says where)',
  },
  { spec: '--video <model>', description: 'vga (default), virtio, qxl, cirrus, bochs, none: qxl,vram=64MiB,heads=2' },
  { spec: '--sound <model>', description: 'ich6, ich9, ac97, es1370, sb16, usb' },
  { spec: '--watchdog <model>', description: 'itco, i6300esb, ib700: i6300esb,action=reset' },
  { spec: '--clock <offset>', description: 'utc (default), localtime, or a time zone: Europe/Zurich' },
  { spec: '--usb-tablet', description: 'a USB tablet: the pointer is where yours is' },
  {
    spec: '--host-device <address>',
    description: 'a device of the host, given whole: 0000:03:00.0, 046d:c52b',
    many: true,
  },
  {
    spec: '--set <field=value>',
    description: 'any field of the definition: cpu.emulatorCpus=0-3; nothing after =: leaves it out',
    many: true,
  },
];

export const ALLOW_TAKEN_IP: Flag = {
  spec: '--allow-taken-ip',
  description: "its address may be another VM's too",
};

/** @param form is filled: one that is empty, or one of a VM that is there. */
export function fillForm(form: Form, flags: Flags): void {
  const word = (flag: string, fill: (value: string) => void): void => {
    const value = text(flags, flag);
    if (value !== undefined) fill(value);
  };
  word('vcpus', (v) => sized(form, v, 'vcpus', 'maxVcpus'));
  word('memory', (v) => sized(form, v, 'memory', 'maxMemory'));
  word('runPolicy', (v) => (form['runPolicy'] = v));
  word('osVariant', (v) => (form['osVariant'] = v));
  word('machine', (v) => (form['machine'] = v));
  word('firmware', (v) => (form['firmware'] = firmware(v)));
  word('cpu', (v) => (form['cpu'] = { ...(form['cpu'] as Form | undefined), ...cpu(v) }));
  word('boot', (v) => (form['boot'] = boot(v)));
  word('video', (v) => (form['video'] = parts(v, 'model')));
  word('sound', (v) => (form['sound'] = parts(v, 'model')));
  word('watchdog', (v) => (form['watchdog'] = parts(v, 'model')));
  word('clock', (v) => (form['clock'] = /\//.test(v) ? { offset: 'timezone', timezone: v } : { offset: v }));
  if (yes(flags, 'tpm')) form['tpm'] = { version: '2.0' };
  if (yes(flags, 'usbTablet')) form['usbTablet'] = true;
  const devices = list(flags, 'hostDevice');
  if (devices.length > 0) form['hostDevices'] = devices.map(hostDevice);
  fillGraphics(form, flags);
  for (const pair of list(flags, 'set')) setField(form, pair);
}

/** @throws INVALID_ARGUMENT, one line per fault. */
export function definitionOf(form: Form): VmDefinition {
  const read = readForm(definitionSchema, form);
  if (read.value !== undefined) return read.value;
  throw invalidArgument(read.faults.map((f) => `${f.path.join('.')} ${f.why}`).join('\n'));
}

/** `10GiB,bus=scsi`: the first word, where it has no =, is the field that is meant most. */
export function parts(value: string, first: string): Form {
  const form: Form = {};
  for (const [i, part] of value.split(',').entries()) {
    const cut = part.indexOf('=');
    if (part === '') continue;
    if (cut < 0 && i > 0)
      throw invalidArgument(`${part} of ${value} says nothing: write field=value, as in ${first}=…`);
    if (cut < 0) form[first] = part;
    else setIn(form, part.slice(0, cut).split('.'), part.slice(cut + 1));
  }
  return form;
}

/** `1,max=2` */
function sized(form: Form, value: string, field: string, most: string): void {
  const { now, max, ...others } = parts(value, 'now');
  const [other] = Object.keys(others);
  if (other !== undefined) throw invalidArgument(`--${field} ${value}: ${other} is not known, only max`);
  if (now !== undefined) form[field] = now;
  if (max !== undefined) form[most] = max;
}

const firmware = (v: string): Form => (v === 'uefi-secure' ? { type: 'uefi', secureBoot: true } : { type: v });

function cpu(value: string): Form {
  const { model, sockets, dies, cores, threads, ...more } = parts(value, 'model');
  const topology = {
    sockets: sockets ?? 1,
    ...(dies !== undefined && { dies }),
    cores: cores ?? 1,
    threads: threads ?? 1,
  };
  const mode = ['host-model', 'host-passthrough', 'maximum'].includes(String(model))
    ? { mode: model }
    : { mode: 'custom', model };
  return {
    ...(model !== undefined && mode),
    ...((sockets ?? dies ?? cores ?? threads) !== undefined && { topology }),
    ...more,
  };
}

function boot(value: string): Form {
  const words = value.split(',').filter((w) => w !== '');
  const order = words.filter((w) => !w.includes('='));
  const more = parts(words.filter((w) => w.includes('=')).join(','), '');
  return { ...(order.length > 0 && { order }), ...more };
}

const hostDevice = (v: string): Form =>
  v.includes('=')
    ? parts(v, '')
    : /^[0-9a-fA-F]{4}:[0-9a-fA-F]{4}$/.test(v)
      ? { usb: v.toLowerCase() }
      : { pci: v.toLowerCase() };

function fillGraphics(form: Form, flags: Flags): void {
  const given = list(flags, 'graphics').map((g) => parts(g, 'type'));
  const port = text(flags, 'vncPort');
  const graphics = given.length > 0 ? given : ((form['graphics'] as Form[] | undefined)?.map((g) => ({ ...g })) ?? []);
  if (port !== undefined) {
    const vnc = graphics.find((g) => g['type'] === 'vnc') ?? graphics[graphics.push({ type: 'vnc' }) - 1]!;
    vnc['port'] = port;
    vnc['listen'] ??= '127.0.0.1';
  }
  const file = text(flags, 'graphicsPasswordFile');
  if (file !== undefined) {
    if (graphics.length === 0) graphics.push({ type: 'vnc' });
    const password = readText(file).replace(/\r?\n$/, '');
    for (const g of graphics) if (g['type'] !== 'none') Object.assign(g, { password, passwordSet: undefined });
  }
  if (graphics.some((g) => 'password' in g && file === undefined))
    throw invalidArgument(
      'a password in a command line can be seen by everybody here: use --graphics-password-file FILE',
    );
  if (given.length > 0 || port !== undefined || file !== undefined) form['graphics'] = graphics;
}

function setField(form: Form, pair: string): void {
  const cut = pair.indexOf('=');
  if (cut < 1) throw invalidArgument(`--set ${pair} sets nothing: write FIELD=VALUE, as in cpu.emulatorCpus=0-3`);
  const field = pair.slice(0, cut);
  if (/(^|\.)password$/.test(field))
    throw invalidArgument(
      'a password in a command line can be seen by everybody here: use --graphics-password-file FILE',
    );
  setIn(form, path(field), pair.slice(cut + 1));
}

/** `disks.vda.cache`, `nics.52:54:00:00:00:01.mtu`: a MAC has no dots, a version has (machine is no path). */
const path = (field: string): string[] => field.split('.');

/** Parts of lists go by place, or by what they are called. @param value empty: left out. */
export function setIn(form: Form, [key = '', ...rest]: readonly string[], value: string): void {
  const at = Array.isArray(form) ? place(form, key) : key;
  const target = form as Record<string | number, unknown>;
  if (rest.length === 0 && value === '') {
    if (Array.isArray(form)) form.splice(Number(at), 1);
    else delete target[at];
  } else if (rest.length === 0) target[at] = value.includes(',') && LISTS.has(key) ? value.split(',') : value;
  else {
    target[at] ??= {};
    if (typeof target[at] !== 'object') throw invalidArgument(`${key} has no fields`);
    setIn(target[at] as Form, rest, value);
  }
}

const LISTS: ReadonlySet<string> = new Set(['order', 'dns', 'sshKeys']);

function place(all: readonly unknown[], key: string): number {
  const named = (all as readonly Form[]).findIndex((v) => [v['target'], v['mac'], v['type']].includes(key));
  if (named >= 0) return named;
  if (/^\d{1,3}$/.test(key) && Number(key) <= all.length) return Number(key);
  throw invalidArgument(`there is no ${key} in that list`);
}
