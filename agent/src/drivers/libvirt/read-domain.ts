/** Reads one domain from libvirt: what the driver interface calls DomainSeen. No cache and no decisions here. */
import { METADATA_NAMESPACE } from '../hypervisor.ts';
import type { DomainSeen } from '../hypervisor.ts';
import { CODE, hasCode } from './errors.ts';
import type { Pool } from './pool.ts';
import { powerOf, type Power } from './power.ts';
import { PROC } from './procedures.ts';
import type { DomainRef } from './types.ts';

/** Long, because libvirt answers nothing about a domain while it is being launched. */
export const READ_DEADLINE_MS = 30_000;

const ELEMENT = 2;
const AFFECT_CONFIG = 2;

/** What changes only with the definition. */
type Definition = Pick<DomainSeen, 'persistent' | 'metadataXml'>;

/** A handle for calls: libvirt looks at the uuid only, the name serves its messages. */
export const refOf = (uuid: string, name: string = uuid): DomainRef => ({ uuid, name, id: -1 });

/**
 * Undefined when there is no such domain.
 * @param known what is still valid of the definition; it is read when undefined.
 */
export async function readDomain(
  pool: Pool,
  uuid: string,
  known: Definition | undefined,
): Promise<DomainSeen | undefined> {
  const dom = refOf(uuid);
  const what = `read domain ${uuid}`;
  try {
    // One after the other: a domain that is being launched must not occupy more than one place in the pool.
    const found = await pool.call(PROC.lookupByUuid, { uuid }, what, READ_DEADLINE_MS);
    const state = await pool.call(PROC.getState, { dom, flags: 0 }, what, READ_DEADLINE_MS);
    const info = await pool.call(PROC.getInfo, { dom }, what, READ_DEADLINE_MS);
    const definition = known ?? (await readDefinition(pool, dom, what));
    return {
      uuid,
      name: found.dom.name,
      ...(await withCause(pool, dom, powerOf(state.state, state.reason), what)),
      persistent: definition.persistent,
      metadataXml: definition.metadataXml,
      memoryBytes: Number(info.memoryKib) * 1024,
      vcpus: info.vcpus,
    };
  } catch (e) {
    if (hasCode(e, CODE.noDomain)) return undefined;
    throw e;
  }
}

/** VIR_DOMAIN_DISK_ERROR_NO_SPACE */
const NO_SPACE = 2;
const MOST_DISKS = 64;
/** It asks QEMU, which may be frozen. */
const DISKS_DEADLINE_MS = 5_000;

/** libvirt says of a pause only that a disk failed; which one and how is asked of QEMU, so it is known after any restart. */
async function withCause(pool: Pool, dom: DomainRef, seen: Power, what: string): Promise<Power> {
  if (seen.power !== 'paused' || seen.reason !== 'io-error') return withSaved(pool, dom, seen, what);
  try {
    const args = { dom, most: MOST_DISKS, flags: 0 };
    const { errors } = await pool.call(PROC.diskErrors, args, what, DISKS_DEADLINE_MS);
    return errors.some((e) => e.error === NO_SPACE) ? { power: 'paused', reason: 'no-space' } : seen;
  } catch {
    return seen;
  }
}

/** libvirt forgets after its restart why a domain stopped, but not that it has its memory in a file. */
async function withSaved(pool: Pool, dom: DomainRef, seen: Power, what: string): Promise<Power> {
  if (seen.power !== 'stopped') return seen;
  const { result } = await pool.call(PROC.hasManagedSave, { dom, flags: 0 }, what, READ_DEADLINE_MS);
  return result === 0 ? seen : { power: 'stopped', reason: 'saved' };
}

async function readDefinition(pool: Pool, dom: DomainRef, what: string): Promise<Definition> {
  const persistent = (await pool.call(PROC.isPersistent, { dom }, what, READ_DEADLINE_MS)).persistent !== 0;
  // The stored definition, not the running one: after a redefinition under a running guest they differ.
  const args = { dom, type: ELEMENT, uri: METADATA_NAMESPACE, flags: persistent ? AFFECT_CONFIG : 0 };
  try {
    const { metadata } = await pool.call(PROC.getMetadata, args, what, READ_DEADLINE_MS);
    return { persistent, metadataXml: metadata };
  } catch (e) {
    if (hasCode(e, CODE.noDomainMetadata)) return { persistent, metadataXml: undefined };
    throw e;
  }
}
