/** What this host offers to every domain: emulator, domain type, and whether its pool takes direct I/O. Found out once. */
import { constants } from 'node:fs';
import { open, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { newUuid } from '@berth/shared/runtime/random.ts';
import type { HostCheck } from '@berth/shared/model/host.ts';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Drivers } from '../drivers/machine.ts';

export interface Abilities {
  readonly domainType: 'kvm' | 'qemu';
  readonly emulatorPath: string;
  readonly directIo: boolean;
}

/** `kvm` only where libvirt offers it and no check of this host speaks against it. */
export function chooseDomainType(
  configured: 'auto' | 'kvm' | 'qemu',
  offered: readonly string[],
  checks: readonly HostCheck[],
): 'kvm' | 'qemu' {
  const failed = checks.find((c) => /^(kvm|vmx|svm|virtualization)/i.test(c.name) && !c.ok);
  if (configured === 'auto') return offered.includes('kvm') && failed === undefined ? 'kvm' : 'qemu';
  if (configured === 'kvm' && !offered.includes('kvm'))
    throw badState(
      `domainType kvm is configured, but libvirt offers no KVM here${failed ? ` (${failed.detail})` : ''}`,
    );
  return configured;
}

/** Asks once; a failure is not kept, so that libvirt may come later. */
export function createAbilities(drivers: Drivers, configured: 'auto' | 'kvm' | 'qemu'): () => Promise<Abilities> {
  let known: Promise<Abilities> | undefined;
  const find = async (): Promise<Abilities> => {
    const info = await drivers.hypervisor.info();
    const checks = configured === 'auto' ? await drivers.machine.checks() : [];
    const pool = dirname(drivers.disks.volumePath('volume-probe', false));
    return {
      domainType: chooseDomainType(configured, info.domainTypes, checks),
      emulatorPath: info.emulatorPath,
      directIo: await takesDirectIo(pool),
    };
  };
  return () => {
    known ??= find().catch((e: unknown) => {
      known = undefined;
      throw e;
    });
    return known;
  };
}

/**
 * tmpfs and some network file systems refuse O_DIRECT when a file is opened. Where the agent may write nothing (a pool, under its
 * unit), the mark that says whose storage it is (pool/pool-marks.ts) is opened instead.
 */
export async function takesDirectIo(directory: string): Promise<boolean> {
  const probe = join(directory, `.direct-io-probe-${newUuid()}`);
  // a pool may be another account's, which could have put a link there
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_DIRECT;
  try {
    const handle = await open(probe, flags, 0o600);
    await handle.close();
    return true;
  } catch (e) {
    return MAY_NOT.has((e as NodeJS.ErrnoException).code ?? '') && (await takesMark(directory));
  } finally {
    await rm(probe, { force: true }).catch(() => undefined);
  }
}

const MAY_NOT: ReadonlySet<string> = new Set(['EROFS', 'EACCES', 'EPERM']);
const MARK = /^berth\.pool-[a-z0-9.-]+\.mark$/;

async function takesMark(directory: string): Promise<boolean> {
  try {
    const mark = (await readdir(directory)).find((n) => MARK.test(n));
    if (mark === undefined) return false;
    const flags = constants.O_RDONLY | constants.O_DIRECT | constants.O_NOFOLLOW;
    await (await open(join(directory, mark), flags)).close();
    return true;
  } catch {
    return false;
  }
}
