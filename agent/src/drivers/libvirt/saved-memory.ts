/**
 * What libvirt keeps of a saved domain. When its file is damaged or gone, libvirt says nothing, removes what is left and boots
 * the guest afresh: so the file is looked at before the start, by libvirt itself, and that start is not tried.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { CODE, hasCode } from './errors.ts';
import type { Pool } from './pool.ts';
import { PROC } from './procedures.ts';
import { READ_DEADLINE_MS } from './read-domain.ts';
import type { DomainRef } from './types.ts';

const ENOENT = '2';
/** RPC: no such procedure. */
const UNKNOWN = 39;

export class SavedMemory {
  /** Given up, though libvirt still says until its next start that they are saved: their file was gone already. */
  readonly #givenUp = new Set<string>();

  constructor(readonly opts: { readonly pool: Pool }) {}

  /** @throws libvirt's words when the guest could not go on from what was saved, as far as its beginning tells. None is fine. */
  async check(dom: DomainRef): Promise<void> {
    if (this.#givenUp.delete(dom.uuid)) return;
    const what = `read what was saved of domain ${dom.name}`;
    const { result } = await this.opts.pool.call(PROC.hasManagedSave, { dom, flags: 0 }, what, READ_DEADLINE_MS);
    if (result === 0) return;
    await this.opts.pool.call(PROC.managedSaveXml, { dom, flags: 0 }, what, READ_DEADLINE_MS).catch((e: unknown) => {
      if (!hasCode(e, UNKNOWN, CODE.noSupport)) throw e; // a libvirt from before 3.7 does not know the question
    });
  }

  /** The definition that it goes on with; undefined when libvirt cannot say: none is saved, or it cannot be read. */
  async xml(dom: DomainRef): Promise<string | undefined> {
    const what = `read what was saved of domain ${dom.name}`;
    try {
      return (await this.opts.pool.call(PROC.managedSaveXml, { dom, flags: 0 }, what, READ_DEADLINE_MS)).xml;
    } catch (e) {
      if (isClusterError(e, 'HYPERVISOR_UNAVAILABLE', 'NOT_FOUND')) throw e;
      return undefined;
    }
  }

  /** None is fine, and so is one whose file is gone. */
  async discard(dom: DomainRef): Promise<void> {
    const [what, args] = [`discard the saved memory of domain ${dom.name}`, { dom, flags: 0 }];
    const { result } = await this.opts.pool.call(PROC.hasManagedSave, args, what, READ_DEADLINE_MS);
    if (result === 0) return;
    try {
      await this.opts.pool.call(PROC.removeManagedSave, args, what, READ_DEADLINE_MS);
    } catch (e) {
      if (!isClusterError(e) || e.meta['errno'] !== ENOENT) throw e;
      this.#givenUp.add(dom.uuid);
    }
  }
}
