/** Whether libvirt and QEMU are new enough. Pure. */
import type { HostCheck } from '@berth/shared/model/host.ts';
import type { HypervisorInfo } from '../drivers/hypervisor.ts';

/** The oldest with which Berth is meant to work: those of Ubuntu 22.04 and Enterprise Linux 9. */
const OLDEST = { libvirt: [8, 0, 0], qemu: [6, 2, 0] } as const;

/** @param info undefined: libvirt can't be asked, which is a check of its own. */
export const versionChecks = (info: Pick<HypervisorInfo, 'libvirtVersion' | 'qemuVersion'> | undefined): HostCheck[] =>
  info === undefined
    ? []
    : [
        versionCheck('libvirt-version', 'libvirt', info.libvirtVersion, OLDEST.libvirt),
        versionCheck('qemu-version', 'QEMU', info.qemuVersion, OLDEST.qemu),
      ];

function versionCheck(name: string, what: string, version: string, oldest: readonly number[]): HostCheck {
  const numbers = /^(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?/
    .exec(version)
    ?.slice(1)
    .map((n) => Number(n ?? 0));
  if (numbers === undefined)
    return { name, ok: false, detail: `cannot tell which version of ${what} runs here`, fatal: false };
  if (!isOlder(numbers, oldest)) return { name, ok: true, detail: `${what} ${version}`, fatal: false };
  const detail = `${what} ${version} is older than ${oldest.join('.')}, the oldest with which Berth works: upgrade the system`;
  return { name, ok: false, detail, fatal: true };
}

function isOlder(version: readonly number[], oldest: readonly number[]): boolean {
  const at = oldest.findIndex((n, i) => (version[i] ?? 0) !== n);
  return at >= 0 && (version[at] ?? 0) < (oldest[at] ?? 0);
}
