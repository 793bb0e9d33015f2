/**
 * Whether a host can run VMs, in words, with what to do where it cannot; and which domain type its VMs get. Pure: machine.ts
 * looks, this judges.
 */
import type { HostCheck } from '@berth/shared/model/host.ts';
import { judgeCare, type CareSeen } from './host-care-checks.ts';
import { PACKAGES } from './packages.ts';
import type { CgroupVersion } from './procfs.ts';
import { unitAdvice, withUnitAdvice } from './unit-paths.ts';

export type DomainTypeSetting = 'auto' | 'kvm' | 'qemu';

export interface HostSeen {
  readonly domainType: DomainTypeSetting;
  readonly cpuFlags: ReadonlySet<string>;
  readonly kvm: 'usable' | 'absent' | 'denied';
  /** Parameter `ept` or `npt` of the loaded module; undefined when neither is loaded. */
  readonly nestedPaging: boolean | undefined;
  readonly cgroups: CgroupVersion;
  readonly clock: 'synchronised' | 'not-synchronised' | 'unknown';
  readonly missingPrograms: readonly string[];
  /** The one that is there; undefined when none is. */
  readonly libvirtSocket: string | undefined;
  readonly dataDir: string;
  /** Why it cannot be written to. */
  readonly dataDirFault: string | undefined;
  /** Whether the agent's unit, where there is one, lets the agent write to it. */
  readonly unitMayWrite: boolean;
  readonly bridgeModule: boolean;
  readonly tun: boolean;
  /** Why guests can't be changed from outside, with what to install. */
  readonly whyNoCustomize?: string | undefined;
  readonly care: CareSeen;
}

/** kvm where it works, qemu where configured or where there is none. That a guest starts on it only a guest can tell. */
export const domainTypeOf = (seen: Pick<HostSeen, 'domainType' | 'kvm'>): 'kvm' | 'qemu' =>
  seen.domainType === 'auto' ? (seen.kvm === 'usable' ? 'kvm' : 'qemu') : seen.domainType;

export function judge(seen: HostSeen): HostCheck[] {
  return [
    virtualization(seen),
    kvm(seen),
    nestedPaging(seen),
    cgroups(seen),
    clock(seen),
    programs(seen),
    libvirt(seen),
    dataDir(seen),
    bridge(seen),
    tun(seen),
    customize(seen),
    ...judgeCare(seen.care),
  ];
}

const passed = (name: string, detail: string): HostCheck => ({ name, ok: true, detail, fatal: false });
const warned = (name: string, detail: string): HostCheck => ({ name, ok: false, detail, fatal: false });
const failed = (name: string, detail: string): HostCheck => ({ name, ok: false, detail, fatal: true });
/** A fault of acceleration is fatal only where the operator insists on it. */
const accelerated = (seen: HostSeen) => (seen.domainType === 'kvm' ? failed : warned);

function virtualization(seen: HostSeen): HostCheck {
  const name = 'cpu-virtualization';
  const flag = ['vmx', 'svm'].find((f) => seen.cpuFlags.has(f));
  if (flag) return passed(name, `the processor has ${flag}`);
  if (seen.domainType === 'qemu') return passed(name, 'not needed: VMs are emulated here, as configured');
  return accelerated(seen)(
    name,
    'the processor shows neither vmx nor svm: switch virtualization on in the firmware, or nested virtualization on the host below',
  );
}

function kvm(seen: HostSeen): HostCheck {
  if (seen.domainType === 'qemu') return passed('kvm', 'not used: domainType is qemu in the configuration');
  if (seen.kvm === 'usable') return passed('kvm', '/dev/kvm can be opened');
  const consequence = seen.domainType === 'auto' ? '; VMs are emulated, which is slow' : '';
  const why =
    seen.kvm === 'absent'
      ? '/dev/kvm is not there: modprobe kvm_intel or kvm_amd'
      : '/dev/kvm cannot be opened: check its owner and mode, and the device cgroup';
  return accelerated(seen)('kvm', why + consequence);
}

function nestedPaging(seen: HostSeen): HostCheck {
  const name = 'nested-paging';
  if (domainTypeOf(seen) === 'qemu') return passed(name, 'not needed: VMs are emulated here');
  if (seen.nestedPaging === undefined) return passed(name, 'unknown: neither kvm_intel nor kvm_amd is loaded');
  if (seen.nestedPaging) return passed(name, 'the processor translates guest memory itself');
  return warned(name, 'ept/npt is off, so guests are slow: load kvm_intel with ept=1, kvm_amd with npt=1');
}

function cgroups(seen: HostSeen): HostCheck {
  if (seen.cgroups === 'none')
    return warned('cgroups', 'no cgroups are mounted: VMs run, but CPU and memory limits have no effect');
  return passed('cgroups', `cgroups ${seen.cgroups} are mounted`);
}

function clock(seen: HostSeen): HostCheck {
  if (seen.clock === 'synchronised') return passed('clock', 'the clock is synchronised');
  const todo = 'apt-get install chrony (certificates and events depend on the time)';
  if (seen.clock === 'unknown') return warned('clock', `cannot tell whether the clock is synchronised: ${todo}`);
  return warned('clock', `the clock is not synchronised: ${todo}`);
}

/** What must be there for VMs with disks and networks. */
export const PROGRAMS = [
  'qemu-img',
  'qemu-nbd',
  'qemu-storage-daemon',
  'qemu-system-x86_64',
  'genisoimage',
  'ip',
  'setpriv',
  'unshare',
  'prlimit',
  'choom',
] as const;

function programs(seen: HostSeen): HostCheck {
  if (seen.missingPrograms.length === 0) return passed('programs', 'all programs that Berth starts are installed');
  const packages = [...new Set(seen.missingPrograms.map((p) => PACKAGES[p] ?? p))];
  const todo = `apt-get install ${packages.join(' ')}`;
  return failed('programs', `not installed: ${seen.missingPrograms.join(', ')}; ${todo}`);
}

function libvirt(seen: HostSeen): HostCheck {
  if (seen.libvirtSocket !== undefined) return passed('libvirt', `libvirt listens on ${seen.libvirtSocket}`);
  return failed('libvirt', 'no libvirt socket: apt-get install libvirt-daemon-system, systemctl start libvirtd');
}

function dataDir(seen: HostSeen): HostCheck {
  const name = 'data-directory';
  const { dataDir: dir, dataDirFault: fault } = seen;
  if (fault !== undefined)
    return failed(name, `${dir} cannot be written to (${withUnitAdvice(dir, fault)}): mount or repair it`);
  if (!seen.unitMayWrite) return failed(name, `${dir} cannot be written to by the agent's service: ${unitAdvice(dir)}`);
  return passed(name, `${dir} can be written to`);
}

function bridge(seen: HostSeen): HostCheck {
  if (seen.bridgeModule) return passed('bridge', 'the kernel makes bridges');
  return warned('bridge', 'the bridge module is not loaded, so VMs get no network: modprobe bridge');
}

function tun(seen: HostSeen): HostCheck {
  if (seen.tun) return passed('tun', '/dev/net/tun is there');
  return warned('tun', '/dev/net/tun is not there, so VMs get no network: modprobe tun');
}

function customize({ whyNoCustomize: why }: HostSeen): HostCheck {
  const name = 'guest-customization';
  if (why === undefined) return passed(name, 'guests that are off can be changed from outside');
  return warned(name, `guests that are off can't be changed from outside: ${why}`);
}
