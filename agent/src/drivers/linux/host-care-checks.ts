/**
 * Whether a host has what not every VM needs, and what makes VMs slow or less safe: firmware, TPM, swap, confinement, shared
 * and large pages. None of it keeps a host from running VMs. Pure: machine.ts looks, this judges; the rest is host-checks.ts's.
 */
import type { HostCheck, LargePages } from '@berth/shared/model/host.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';

/** What confines each QEMU beside its user account. `permissive`: SELinux that only complains. */
export type Confined = 'apparmor' | 'selinux' | 'permissive' | 'none';

export interface CareSeen {
  /** OVMF, in any of the places where distributions put it. */
  readonly uefi: boolean;
  readonly swtpm: boolean;
  readonly swap: { readonly totalBytes: number; readonly usedBytes: number };
  readonly confined: Confined;
  /** Undefined: this kernel has none. */
  readonly ksm: { readonly on: boolean; readonly savedBytes: number } | undefined;
  readonly hugePages: readonly LargePages[];
  /** The choice in force: always, madvise, never; undefined: this kernel has none. */
  readonly transparentHugePages: string | undefined;
}

export const OVMF_FILES = [
  '/usr/share/OVMF/OVMF_CODE_4M.fd',
  '/usr/share/OVMF/OVMF_CODE.fd',
  '/usr/share/edk2/ovmf/OVMF_CODE.fd',
  '/usr/share/edk2/x64/OVMF_CODE.4m.fd',
  '/usr/share/qemu/ovmf-x86_64-code.bin',
] as const;

/** Less than this in swap is what any system leaves there. */
const LITTLE_SWAP_BYTES = 256 * 2 ** 20;

export const judgeCare = (seen: CareSeen): HostCheck[] => [
  uefi(seen),
  tpm(seen),
  swap(seen),
  confinement(seen),
  sharedPages(seen),
  largePages(seen),
];

const passed = (name: string, detail: string): HostCheck => ({ name, ok: true, detail, fatal: false });
const warned = (name: string, detail: string): HostCheck => ({ name, ok: false, detail, fatal: false });

function uefi(seen: CareSeen): HostCheck {
  if (seen.uefi) return passed('uefi', 'OVMF is installed');
  return warned('uefi', 'OVMF is not installed, so VMs with UEFI cannot run here: apt-get install ovmf');
}

function tpm(seen: CareSeen): HostCheck {
  if (seen.swtpm) return passed('tpm', 'swtpm is installed');
  return warned('tpm', 'swtpm is not installed, so VMs with a TPM cannot run here: apt-get install swtpm swtpm-tools');
}

function swap({ swap: { totalBytes, usedBytes } }: CareSeen): HostCheck {
  if (totalBytes === 0) return passed('swap', 'none');
  const words = `${formatBytes(usedBytes)} of ${formatBytes(totalBytes)} used`;
  if (usedBytes < LITTLE_SWAP_BYTES) return passed('swap', words);
  return warned('swap', `${words}: guests whose memory lies there are slow; stop VMs here, or add memory`);
}

function confinement(seen: CareSeen): HostCheck {
  const name = 'confinement';
  if (seen.confined === 'apparmor') return passed(name, 'AppArmor is on: libvirt confines each QEMU with it');
  if (seen.confined === 'selinux') return passed(name, 'SELinux is enforcing: libvirt confines each QEMU with it');
  if (seen.confined === 'permissive')
    return warned(name, 'SELinux only complains, so it confines no QEMU: setenforce 1, and SELINUX=enforcing');
  return warned(
    name,
    'neither AppArmor nor SELinux is on: a guest that breaks out of its QEMU is held by a user account alone; apt-get install apparmor',
  );
}

function sharedPages({ ksm }: CareSeen): HostCheck {
  if (ksm === undefined) return passed('ksm', 'this kernel does not merge equal pages');
  return passed('ksm', ksm.on ? `on, saves ${formatBytes(ksm.savedBytes)}` : 'off');
}

function largePages({ hugePages, transparentHugePages }: CareSeen): HostCheck {
  const reserved = hugePages
    .filter((p) => p.total > 0)
    .map((p) => `${p.total} of ${formatBytes(p.sizeBytes)} (${formatBytes(p.total * p.sizeBytes)}), ${p.free} free`);
  const transparent = transparentHugePages === undefined ? '' : `; transparent ones: ${transparentHugePages}`;
  return passed('hugepages', `${reserved.join(', ') || 'none reserved'}${transparent}`);
}
