/** What host-care-checks.ts judges, read from the kernel's files and the places of programs. */
import type { LargePages } from '@berth/shared/model/host.ts';
import { OVMF_FILES, type CareSeen, type Confined } from './host-care-checks.ts';
import { hugePageBytes, parseChoice, parseSwap, wholeNumber } from './hugepages.ts';
import type { RootFiles } from './root-files.ts';

const PAGE_BYTES = 4096;

export async function lookAtCare(
  files: RootFiles,
  isInstalled: (program: string) => Promise<boolean>,
): Promise<CareSeen> {
  const firmware = await Promise.all(OVMF_FILES.map((f) => files.exists(f)));
  const swtpm = await Promise.all(['swtpm', 'swtpm_setup'].map(isInstalled));
  return {
    uefi: firmware.includes(true),
    swtpm: !swtpm.includes(false),
    swap: parseSwap(files.now('/proc/meminfo')),
    confined: confined(files),
    ksm: ksm(files),
    hugePages: await readHugePages(files),
    transparentHugePages: parseChoice(files.now('/sys/kernel/mm/transparent_hugepage/enabled'))?.chosen,
  };
}

function confined(files: RootFiles): Confined {
  const selinux = files.now('/sys/fs/selinux/enforce').trim();
  if (selinux !== '') return selinux === '1' ? 'selinux' : 'permissive';
  return /^Y/.test(files.now('/sys/module/apparmor/parameters/enabled')) ? 'apparmor' : 'none';
}

function ksm(files: RootFiles): CareSeen['ksm'] {
  const run = files.now('/sys/kernel/mm/ksm/run').trim();
  if (run === '') return undefined;
  const pages = wholeNumber(files.now('/sys/kernel/mm/ksm/pages_sharing'));
  return { on: run === '1', savedBytes: pages * PAGE_BYTES };
}

const HUGE_PAGES = '/sys/kernel/mm/hugepages';

/** Of each size, the smallest first. */
export async function readHugePages(files: RootFiles): Promise<LargePages[]> {
  const names = (await files.names(HUGE_PAGES)).slice(0, 16);
  const all = names.map((name) => {
    const sizeBytes = hugePageBytes(name);
    if (sizeBytes === undefined) return [];
    const number = (file: string) => wholeNumber(files.now(`${HUGE_PAGES}/${name}/${file}`));
    const free = number('free_hugepages') - number('resv_hugepages');
    return [{ sizeBytes, total: number('nr_hugepages'), free: Math.max(0, free) }];
  });
  return all.flat().sort((a, b) => a.sizeBytes - b.sizeBytes);
}
