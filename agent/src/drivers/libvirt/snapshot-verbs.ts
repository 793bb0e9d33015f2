/**
 * Snapshots over libvirt's RPC. libvirt makes those of a domain that is off, and those with memory. Disks alone of a guest that runs
 * it cannot take inside them, but QEMU can, of all at one moment, and libvirt then keeps them as those of a domain that is off: which
 * is what a revert to them leads to. The chain of files stays as it is, so nothing that libvirt knows becomes wrong.
 */
import { chain, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { attributeAt, find, findAll, parseXml } from '../../domain/xml/tree.ts';
import { targetOf } from '../../domain/xml/read-drives.ts';
import type { SnapshotSeen, SnapshotVerbs, SnapshotWanted } from '../snapshots.ts';
import type { DomainCache } from './domain-cache.ts';
import { CODE, hasCode } from './errors.ts';
import type { Pool } from './pool.ts';
import { PROC } from './procedures.ts';
import { READ_DEADLINE_MS, refOf } from './read-domain.ts';
import { notedXml, readSnapshot, snapshotXml } from './snapshot-xml.ts';
import type { DomainRef } from './types.ts';

/** VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE, _CURRENT. */
const REDEFINE = 1;
const CURRENT = 2;
/** VIR_DOMAIN_XML_SECURE, _INACTIVE. */
const STORED_WITH_SECRETS = 1 | 2;
/** Memory of hundreds of GiB, and a slow disk. */
const LONG_MS = 3_600_000;
const MONITOR_MS = 60_000;

export interface SnapshotVerbOptions {
  readonly quick: Pool;
  /** For what takes long. */
  readonly start: Pool;
  readonly guest: Pool;
  readonly cache: DomainCache;
  readonly clock: Clock;
  ready(what: string): Promise<void>;
}

interface Of {
  readonly dom: DomainRef;
  readonly what: string;
}

export class LibvirtSnapshots implements SnapshotVerbs {
  constructor(private readonly o: SnapshotVerbOptions) {}

  async list(uuid: string): Promise<readonly SnapshotSeen[]> {
    const of = await this.of(uuid, 'list the snapshots of');
    const args = { dom: of.dom, needResults: 1, flags: 0 };
    const { snapshots } = await this.o.quick.call(PROC.listSnapshots, args, of.what, READ_DEADLINE_MS);
    if (snapshots.length === 0) return [];
    const current = await this.current(of);
    const all = await Promise.all(snapshots.map(({ name }) => this.read(of, name, current)));
    return all.filter((s) => s !== undefined).sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  async create(uuid: string, wanted: SnapshotWanted): Promise<void> {
    const of = await this.of(uuid, `make snapshot ${wanted.name} of`);
    const on = this.o.cache.find(uuid)?.power !== 'stopped' && this.o.cache.find(uuid)?.power !== 'crashed';
    const args = { dom: of.dom, xml: snapshotXml(wanted, on), flags: 0 };
    await this.slow(of, () => this.o.start.call(PROC.createSnapshot, args, of.what, LONG_MS));
    await this.o.cache.refresh(uuid, false).catch(() => undefined);
  }

  async createLive(uuid: string, wanted: SnapshotWanted, taken: () => Promise<void>): Promise<void> {
    const of = await this.of(uuid, `make snapshot ${wanted.name} of`);
    const nodes = await this.nodes(of, wanted.disks);
    const actions = nodes.map((device) => ({
      type: 'blockdev-snapshot-internal-sync',
      data: { device, name: wanted.name },
    }));
    await this.monitor(of, { execute: 'transaction', arguments: { actions } });
    await taken();
    await this.note(of, wanted);
  }

  async revert(uuid: string, name: string): Promise<void> {
    const of = await this.of(uuid, `go back to snapshot ${name} of`);
    const args = { snap: { name, dom: of.dom }, flags: 0 };
    await this.slow(of, () => this.o.start.call(PROC.revertToSnapshot, args, of.what, LONG_MS));
    await this.o.cache.refresh(uuid, true).catch(() => this.o.cache.refreshSoon(uuid, true));
  }

  async remove(uuid: string, name: string): Promise<void> {
    const of = await this.of(uuid, `delete snapshot ${name} of`);
    const args = { snap: { name, dom: of.dom }, flags: 0 };
    try {
      await this.slow(of, () => this.o.start.call(PROC.deleteSnapshot, args, of.what, LONG_MS));
    } catch (e) {
      if (!hasCode(e, CODE.noSnapshot)) throw e;
    }
  }

  /** libvirt removes from disks what it knows of, and finds it fine when they have no such thing. */
  async clear(uuid: string, wanted: SnapshotWanted): Promise<void> {
    await this.note(await this.of(uuid, `clear away snapshot ${wanted.name} of`), wanted);
    await this.remove(uuid, wanted.name);
  }

  private async note(of: Of, wanted: SnapshotWanted): Promise<void> {
    const stored = { dom: of.dom, flags: STORED_WITH_SECRETS };
    const { xml: domainXml } = await this.o.quick.call(PROC.getXml, stored, of.what, READ_DEADLINE_MS);
    const xml = notedXml(wanted, { createdAtMs: this.o.clock.now(), parent: await this.current(of), domainXml });
    const args = { dom: of.dom, xml, flags: REDEFINE | CURRENT };
    await this.slow(of, () => this.o.quick.call(PROC.createSnapshot, args, of.what, MONITOR_MS));
  }

  /** Names of QEMU's block nodes, in the order of the targets. */
  private async nodes(of: Of, targets: readonly string[]): Promise<readonly string[]> {
    const { xml } = await this.o.quick.call(PROC.getXml, { dom: of.dom, flags: 0 }, of.what, READ_DEADLINE_MS);
    const disks = findAll(find(parseXml(xml), 'devices'), 'disk');
    const blocks = (await this.monitor(of, { execute: 'query-block' })) as readonly QemuBlock[];
    return targets.map((target) => {
      const disk = disks.find((d) => targetOf(d) === target);
      const alias = disk && attributeAt(disk, 'name', 'alias');
      const node = blocks.find((b) => alias && b.qdev?.split('/').includes(alias))?.inserted?.['node-name'];
      if (node !== undefined) return node;
      throw new ClusterError('INTERNAL', `QEMU of vm ${of.dom.name} does not say where its disk ${target} is`);
    });
  }

  private async monitor({ dom, what }: Of, command: object): Promise<unknown> {
    const args = { dom, command: JSON.stringify(command), flags: 0 };
    const { result } = await this.o.guest.call(PROC.monitorCommand, args, what, MONITOR_MS);
    const answer = JSON.parse(result) as { readonly return?: unknown; readonly error?: { readonly desc?: string } };
    if (answer.error !== undefined)
      throw new ClusterError('INTERNAL', `QEMU could not ${what}: ${answer.error.desc ?? 'it does not say why'}`);
    return answer.return;
  }

  private async read({ dom, what }: Of, name: string, current?: string): Promise<SnapshotSeen | undefined> {
    try {
      const args = { snap: { name, dom }, flags: 0 };
      return readSnapshot((await this.o.quick.call(PROC.snapshotXml, args, what, READ_DEADLINE_MS)).xml, current);
    } catch (e) {
      if (hasCode(e, CODE.noSnapshot)) return undefined; // removed since it was listed
      throw e;
    }
  }

  private async current({ dom, what }: Of): Promise<string | undefined> {
    try {
      return (await this.o.quick.call(PROC.currentSnapshot, { dom, flags: 0 }, what, READ_DEADLINE_MS)).snap.name;
    } catch (e) {
      if (hasCode(e, CODE.noSnapshot)) return undefined;
      throw e;
    }
  }

  /** What libvirt does for somebody, or for an agent that was here before, has to end first. */
  private async slow<T>({ dom }: Of, fn: () => Promise<T>): Promise<T> {
    try {
      return await fn();
    } catch (e) {
      if (!hasCode(e, CODE.operationTimeout)) throw e;
      throw new ClusterError('RESOURCE_BUSY', `libvirt still works on vm ${dom.name}`, { libvirt: chain(e) });
    }
  }

  private async of(uuid: string, verb: string): Promise<Of> {
    const dom = refOf(uuid, this.o.cache.find(uuid)?.name);
    const what = `${verb} domain ${dom.name}`;
    await this.o.ready(what);
    return { dom, what };
  }
}

interface QemuBlock {
  readonly qdev?: string;
  readonly inserted?: { readonly 'node-name'?: string };
}
