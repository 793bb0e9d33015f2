/** Machine, firmware, what boots, features, clock and lifecycle: to XML and back. Pure. */
import { basename, dirname, join } from 'node:path';
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import type { DomainSpec } from '../spec.ts';
import { bootOrder, readBootOrder } from './boot.ts';
import type { DomainHost } from './host.ts';
import { oneOf, said } from './said.ts';
import { el, textEl, type Node } from './text.ts';
import { attributeAt, find, findAll, textAt, type XmlElement } from './tree.ts';

export function osXml(s: DomainSpec, host: DomainHost): string {
  const { machine = 'q35', firmware, kernel, boot } = s.hardware ?? {};
  const uefi = firmware?.type === 'uefi';
  const secure = uefi && firmware.secureBoot === true;
  const file = (name: string, value: string | undefined): Node =>
    value === undefined ? undefined : textEl(name, {}, join(host.bootDir, value));
  return el(
    'os',
    { firmware: uefi ? 'efi' : undefined },
    textEl('type', { arch: 'x86_64', machine }, 'hvm'),
    uefi ? firmwareXml(secure) : undefined,
    secure ? el('loader', { secure: 'yes' }) : undefined,
    file('kernel', kernel?.kernel),
    file('initrd', kernel?.initrd),
    kernel?.commandLine === undefined ? undefined : textEl('cmdline', {}, kernel.commandLine),
    bootOrder(s) === undefined ? el('boot', { dev: 'hd' }) : undefined,
    boot?.menu === true ? el('bootmenu', { enable: 'yes', timeout: boot.menuTimeoutMs }) : undefined,
  );
}

/** libvirt chooses the files by these; without keys in its variables, secure firmware would boot anything. */
function firmwareXml(secure: boolean): string {
  const enabled = secure ? 'yes' : 'no';
  return el(
    'firmware',
    {},
    el('feature', { enabled, name: 'secure-boot' }),
    el('feature', { enabled, name: 'enrolled-keys' }),
  );
}

export function featuresXml({ pae, hyperv, firmware }: Hardware): string {
  return el(
    'features',
    {},
    el('acpi', {}),
    el('apic', {}),
    pae === true ? el('pae', {}) : undefined,
    hyperv === true ? hypervXml() : undefined,
    // only firmware in system management mode may write the variables that Secure Boot trusts
    firmware?.secureBoot === true ? el('smm', { state: 'on' }) : undefined,
  );
}

const hypervXml = (): string =>
  el(
    'hyperv',
    {},
    el('relaxed', { state: 'on' }),
    el('vapic', { state: 'on' }),
    el('spinlocks', { state: 'on', retries: 8191 }),
  );

export function clockXml({ clock, hyperv }: Hardware, host: DomainHost): string {
  const { offset = 'utc', timezone } = clock ?? {};
  return el('clock', { offset, timezone }, ...timers(host), hyperv === true ? hypervClock() : undefined);
}

/** A guest that was held up catches up its clock; the HPET costs CPU and nobody needs it. */
const timers = (host: DomainHost): string[] => [
  el('timer', { name: 'rtc', tickpolicy: 'catchup' }),
  ...(host.domainType === 'kvm' ? [el('timer', { name: 'pit', tickpolicy: 'delay' })] : []),
  el('timer', { name: 'hpet', present: 'no' }),
];

const hypervClock = (): string => el('timer', { name: 'hypervclock', present: 'yes' });

export const lifecycleXml = ({ lifecycle: l = {} }: Hardware): readonly string[] => [
  textEl('on_poweroff', {}, l.onPoweroff ?? 'destroy'),
  textEl('on_reboot', {}, l.onReboot ?? 'restart'),
  textEl('on_crash', {}, l.onCrash ?? 'destroy'),
];

type Os = Pick<Hardware, 'machine' | 'firmware' | 'boot' | 'kernel' | 'clock' | 'lifecycle' | 'pae' | 'hyperv'>;

/** The machine as libvirt has it, which is a versioned name also where none was asked for. */
export function readOs(domain: XmlElement, bootDir: string): Os | undefined {
  const features = find(domain, 'features');
  const machine = attributeAt(domain, 'machine', 'os', 'type');
  return said({
    machine: machine === 'q35' ? undefined : machine,
    firmware: readFirmware(domain),
    boot: readBoot(domain),
    kernel: readKernel(find(domain, 'os'), bootDir),
    clock: readClock(domain),
    lifecycle: said({
      onPoweroff: oneOf(['destroy', 'restart'], textAt(domain, 'on_poweroff'), 'destroy'),
      onReboot: oneOf(['restart', 'destroy'], textAt(domain, 'on_reboot'), 'restart'),
      onCrash: oneOf(
        ['destroy', 'restart', 'preserve', 'coredump-destroy', 'coredump-restart'],
        textAt(domain, 'on_crash'),
        'destroy',
      ),
    }),
    pae: find(features, 'pae') && true,
    hyperv: attributeAt(features, 'state', 'hyperv', 'relaxed') === 'on' ? true : undefined,
  });
}

function readFirmware(domain: XmlElement): Hardware['firmware'] {
  const os = find(domain, 'os');
  const pflash = attributeAt(os, 'type', 'loader') === 'pflash';
  if (os?.attributes['firmware'] !== 'efi' && !pflash) return undefined;
  const feature = findAll(find(os, 'firmware'), 'feature').find((f) => f.attributes['name'] === 'secure-boot');
  const secure = attributeAt(os, 'secure', 'loader') === 'yes' || feature?.attributes['enabled'] === 'yes';
  return { type: 'uefi', ...(secure && { secureBoot: true }) };
}

function readBoot(domain: XmlElement): Hardware['boot'] {
  const { enable, timeout } = find(domain, 'os', 'bootmenu')?.attributes ?? {};
  const menu = enable === 'yes';
  const menuTimeoutMs = menu && timeout !== undefined ? Number(timeout) : undefined;
  return said({ order: readBootOrder(domain), menu: menu ? true : undefined, menuTimeoutMs });
}

/** Undefined too when the files lie elsewhere; foreign.ts tells of it. */
function readKernel(os: XmlElement | undefined, bootDir: string): Hardware['kernel'] {
  const inDir = (path: string): string | undefined =>
    path !== '' && dirname(path) === bootDir ? basename(path) : undefined;
  const kernel = inDir(textAt(os, 'kernel'));
  const commandLine = textAt(os, 'cmdline');
  return kernel === undefined
    ? undefined
    : { kernel, ...said({ initrd: inDir(textAt(os, 'initrd')), commandLine: commandLine || undefined }) };
}

function readClock(domain: XmlElement): Hardware['clock'] {
  const { offset, timezone } = find(domain, 'clock')?.attributes ?? {};
  return said({
    offset: oneOf(['utc', 'localtime', 'timezone'], offset, 'utc'),
    timezone: offset === 'timezone' ? timezone : undefined,
  });
}
