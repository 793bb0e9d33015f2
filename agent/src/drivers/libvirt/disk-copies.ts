/** Live copies of disks by libvirt's block jobs. */
import type { CopyProgress, DiskCopies } from '../disk-copies.ts';
import type { DomainCache } from './domain-cache.ts';
import { CODE, hasCode } from './errors.ts';
import type { Pool } from './pool.ts';
import { PROC } from './procedures.ts';
import { READ_DEADLINE_MS, refOf } from './read-domain.ts';
import type { DomainRef } from './types.ts';

/** VIR_DOMAIN_BLOCK_COPY_REUSE_EXT, _TRANSIENT_JOB (the stored definition may stay). */
const INTO_WHAT_IS_THERE = 2 | 4;
/** VIR_DOMAIN_BLOCK_COPY_SHALLOW, _SYNCHRONOUS_WRITES. */
const SHALLOW = 1;
const SYNCHRONOUS = 8;
const PIVOT = 2;
/** The guest is stopped for a moment, after what it has under way. */
const DEADLINE_MS = 60_000;

export interface DiskCopyOptions {
  readonly guest: Pool;
  readonly cache: DomainCache;
  ready(what: string): Promise<void>;
}

export class LibvirtDiskCopies implements DiskCopies {
  constructor(private readonly o: DiskCopyOptions) {}

  async begin(uuid: string, path: string, destXml: string, { deep } = { deep: false }): Promise<void> {
    const { dom, what } = await this.of(uuid, `copy disk ${path} of`);
    const begin = (flags: number): Promise<unknown> =>
      this.o.guest.call(PROC.blockCopy, { dom, path, destXml, params: [], flags }, what, DEADLINE_MS);
    const flags = INTO_WHAT_IS_THERE | (deep ? 0 : SHALLOW);
    try {
      // a guest that writes faster than the copy goes is slowed down, so that it ends
      await begin(flags | SYNCHRONOUS);
    } catch (e) {
      if (!hasCode(e, CODE.argumentUnsupported) && !hasCode(e, CODE.configUnsupported)) throw e;
      await begin(flags);
    }
  }

  async progress(uuid: string, path: string): Promise<CopyProgress | undefined> {
    const { dom, what } = await this.of(uuid, `look at the copy of disk ${path} of`);
    const job = await this.o.guest.call(PROC.blockJobInfo, { dom, path, flags: 0 }, what, READ_DEADLINE_MS);
    if (job.found === 0) return undefined;
    // libvirt lets the two be the same only when QEMU says that it is ready
    return { doneBytes: Number(job.done), totalBytes: Number(job.end), ready: job.end > 0n && job.done === job.end };
  }

  async pivot(uuid: string, path: string): Promise<void> {
    const { dom, what } = await this.of(uuid, `move disk ${path} of`);
    await this.o.guest.call(PROC.blockJobAbort, { dom, path, flags: PIVOT }, what, DEADLINE_MS);
  }

  async abort(uuid: string, path: string): Promise<void> {
    if ((await this.progress(uuid, path)) === undefined) return;
    const { dom, what } = await this.of(uuid, `give up the copy of disk ${path} of`);
    await this.o.guest.call(PROC.blockJobAbort, { dom, path, flags: 0 }, what, DEADLINE_MS);
  }

  private async of(uuid: string, verb: string): Promise<{ dom: DomainRef; what: string }> {
    const dom = refOf(uuid, this.o.cache.find(uuid)?.name);
    const what = `${verb} domain ${dom.name}`;
    await this.o.ready(what);
    return { dom, what };
  }
}
