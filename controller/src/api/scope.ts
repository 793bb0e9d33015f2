/**
 * Which objects a caller reaches: before each handler, by the table of authorisation.ts. What a caller may not even see does not
 * exist for it (NOT_FOUND, without a hint at other names); what it sees and may not change is PERMISSION_DENIED. Reads the
 * inventory, changes nothing.
 */
import { alreadyExists, ClusterError, isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { ROLES, type Role } from '@berth/shared/model/access.ts';
import type { Alarm } from '@berth/shared/model/alarm.ts';
import type { Event } from '@berth/shared/model/event.ts';
import type { Image } from '@berth/shared/model/image.ts';
import { isId } from '@berth/shared/model/ids.ts';
import type { Job } from '@berth/shared/model/job.ts';
import type { Labels } from '@berth/shared/labels/selector.ts';
import type { Access } from '../app/access.ts';
import { rowWords } from '../app/batch-conflicts.ts';
import { labelsOfVolume, volumesNamed } from '../app/volume-names.ts';
import type { Tables } from '../state/state.ts';
import { ruleOf, type Target } from './authorisation.ts';

/** Who asks. */
export interface Asker {
  readonly user: string;
  readonly access: Access;
}

type Fields = Readonly<Record<string, unknown>>;

export class Scope {
  constructor(
    private readonly tables: Tables,
    /** Of open and ended jobs; by the beginning of an id, too. */
    private readonly findJob: (id: string) => Promise<Job>,
  ) {}

  /** Throws unless the caller may do this to what the request is about. */
  async check(path: string, request: unknown, asker: Asker): Promise<void> {
    const rule = ruleOf(path);
    if (rule === undefined || rule.needs === 'anyone' || rule.needs === 'self') return;
    if (asker.access.everywhere(rule.needs)) return;
    const fields = (request ?? {}) as Fields;
    if (rule.on !== 'host' && text(fields, 'host') !== '') this.#host(text(fields, 'host'), 'viewer', asker);
    await this.#target(rule.on, rule.needs, fields, asker);
  }

  seesVm = (asker: Asker, vm: { readonly spec: { readonly labels: Labels } }): boolean =>
    asker.access.on('viewer', vm.spec);
  seesVmNamed(asker: Asker, name: string): boolean {
    const vm = this.tables.vms.byName(name);
    return vm !== undefined && this.seesVm(asker, vm);
  }
  /** Of all that are called so; what the inventory does not know is for those who see everything. */
  seesVolumeNamed(asker: Asker, name: string): boolean {
    if (seesAll(asker)) return true;
    const found = volumesNamed(this.tables, name);
    return found.length > 0 && found.every((f) => asker.access.on('viewer', { labels: labelsOfVolume(f) }));
  }
  /** What was captured of a VM to clone it is for those who may operate such a VM. */
  seesImage = (asker: Asker, i: Pick<Image, 'hidden' | 'ownerLabels'>, needs: Role = 'viewer'): boolean =>
    i.hidden !== true || asker.access.on(needs, { labels: i.ownerLabels ?? {} });

  /** @param names of images, as a request has them. @throws NOT_FOUND for those that the caller may not make VMs of */
  insistImages(asker: Asker, names: readonly string[]): void {
    for (const name of names) {
      const image = isId('image', name) ? this.tables.images.get(name) : this.tables.images.byName(name);
      if (image && !this.seesImage(asker, image, 'operator')) throw unknown('image', name);
    }
  }

  seesHost = (asker: Asker, host: { readonly labels: Labels }): boolean => asker.access.on('viewer', host);

  seesJob(asker: Asker, job: Job): boolean {
    if (job.user === asker.user && asker.user !== '') return true;
    // a capture is about a VM, and so is what was captured to clone one
    const ofAll = job.kind.startsWith('image.') && job.kind !== 'image.capture';
    if (ofAll && job.labels === undefined) return asker.access.highest !== 'none';
    return this.#mayJob('viewer', asker, job);
  }

  seesEvent(asker: Asker, e: Event): boolean {
    if (seesAll(asker)) return true;
    // an image has labels only when it was captured to clone a VM
    const ofAll =
      e.subjectKind === 'image' ? e.labels === undefined : ['pool', 'network', 'cluster'].includes(e.subjectKind);
    if (ofAll) return asker.access.highest !== 'none';
    return e.labels !== undefined && asker.access.on('viewer', { labels: e.labels });
  }

  /** Of jobs and of the controller itself: who sees everything. */
  seesAlarm(asker: Asker, alarm: Alarm): boolean {
    if (seesAll(asker)) return true;
    if (alarm.subjectKind === 'vm') return this.seesVmNamed(asker, alarm.subject);
    const host = alarm.subjectKind === 'host' ? this.tables.hosts.byName(alarm.subject) : undefined;
    return host !== undefined && this.seesHost(asker, host);
  }

  /** What placement says of hosts that the caller may not see is only counted. */
  redact(e: unknown, asker: Asker): unknown {
    if (seesAll(asker) || !isClusterError(e, 'NO_CAPACITY')) return e;
    const all = Object.entries(e.meta);
    const seen = all.filter(([name]) => {
      const host = this.tables.hosts.byName(name);
      return host !== undefined && this.seesHost(asker, host);
    });
    const hidden = all.length - seen.length;
    if (hidden === 0) return e;
    const words = [...seen.map(([name, why]) => `${name} ${why}`), `${hidden} that you may not see`].join('; ');
    return new ClusterError('NO_CAPACITY', `no host has room: ${words}`, Object.fromEntries(seen));
  }

  async #target(on: Target, needs: Role, fields: Fields, asker: Asker): Promise<void> {
    if (on === 'vm') this.#vm(text(fields, 'vm'), needs, asker);
    else if (on === 'host') this.#host(text(fields, 'host'), needs, asker);
    else if (on === 'volume') this.#volume(fields, needs, asker);
    else if (on === 'newVm') this.#newOne('vm', fields, needs, asker);
    else if (on === 'newVms') this.#newOnes(fields as NewVms, needs, asker);
    else if (on === 'newHost') this.#newOne('host', fields, needs, asker);
    else if (on === 'newVolume') this.#newOne('volume', fields, needs, asker);
    else if (on === 'job') await this.#job(text(fields, 'job'), needs, asker);
  }

  #vm(nameOrId: string, needs: Role, asker: Asker): void {
    if (nameOrId === '') return; // refused in words by what resolves it
    const { vms } = this.tables;
    const vm = isId('vm', nameOrId) ? vms.get(nameOrId) : vms.byName(nameOrId);
    insist(asker, needs, { kind: 'vm', name: nameOrId, labels: vm?.spec.labels });
  }

  #host(nameOrId: string, needs: Role, asker: Asker): void {
    if (nameOrId === '') return;
    const { hosts } = this.tables;
    const host = isId('host', nameOrId) ? hosts.get(nameOrId) : hosts.byName(nameOrId);
    insist(asker, needs, { kind: 'host', name: nameOrId, labels: host?.labels });
  }

  /** It must be in reach from its first moment. A name that is taken out of reach is taken, and no more is said. */
  #volume(fields: Fields, needs: Role, asker: Asker): void {
    const name = text(fields, 'volume');
    this.#vm(text(fields, 'vm'), needs, asker);
    if (name === '') return;
    const found = volumesNamed(this.tables, name);
    if (found.length === 0) insist(asker, needs, { kind: 'volume', name, labels: undefined });
    // a name that can be either of two is refused by what resolves it, which names both
    for (const f of found) insist(asker, needs, { kind: 'volume', name, labels: labelsOfVolume(f) });
  }

  #newOne(kind: 'vm' | 'host' | 'volume', fields: Fields, needs: Role, asker: Asker): void {
    const labels = (fields['labels'] ?? {}) as Labels;
    if (!asker.access.on(needs, { labels }))
      throw new ClusterError(
        'PERMISSION_DENIED',
        `${asker.user} is not ${needs} for such a ${kind}: give it labels that your roles are bound to (--label; see: berth whoami)`,
      );
    const name = text(fields, 'name');
    const [volume] = kind === 'volume' ? volumesNamed(this.tables, name) : [];
    const there =
      kind === 'vm'
        ? this.tables.vms.byName(name)?.spec.labels
        : kind === 'host'
          ? this.tables.hosts.byName(name)?.labels
          : volume && labelsOfVolume(volume);
    if (there && !asker.access.on('viewer', { labels: there })) throw alreadyExists(`the name ${name} is taken`);
  }

  /** All from one request, each with a name and perhaps a host of its own. */
  #newOnes({ all, rows = [], vm = '' }: NewVms, needs: Role, asker: Asker): void {
    const { labels = {}, host = '' } = all ?? {};
    this.#vm(vm, needs, asker);
    if (host !== '') this.#host(host, 'viewer', asker);
    this.#newOne('vm', { labels }, needs, asker);
    for (const [at, row] of rows.entries()) {
      try {
        this.#newOne('vm', { labels, name: row.name }, needs, asker);
        if (row.host !== '') this.#host(row.host, 'viewer', asker);
      } catch (e) {
        if (!isClusterError(e)) throw e;
        throw new ClusterError(e.reason, `${rowWords(rows, at)}: ${e.message}`, e.meta, e);
      }
    }
  }

  async #job(id: string, needs: Role, asker: Asker): Promise<void> {
    if (seesAll(asker) && asker.access.everywhere(needs)) return;
    const job = await this.findJob(id).catch((e: unknown) => {
      throw isClusterError(e, 'NOT_FOUND') ? unknown('job', id) : e;
    });
    if (!this.seesJob(asker, job)) throw unknown('job', id);
    if (needs !== 'viewer' && !this.#mayJob(needs, asker, job)) throw denied(asker, needs, `job ${job.id}`);
  }

  /** A job is where its VM is; where that is gone, it is where it was. */
  #mayJob(needs: Role, asker: Asker, job: Job): boolean {
    if (asker.access.everywhere(needs)) return true;
    const { vmId, volumeId } = (job.params ?? {}) as { vmId?: unknown; volumeId?: unknown };
    const vm = typeof vmId === 'string' ? this.tables.vms.get(vmId) : undefined;
    const volume = typeof volumeId === 'string' ? this.tables.volumes.get(volumeId) : undefined;
    const labels = vm?.spec.labels ?? volume?.labels ?? job.labels;
    return labels !== undefined && asker.access.on(needs, { labels });
  }
}

/** What of BatchService.CloneVms says who may. */
interface NewVms {
  readonly all?: { readonly labels?: Labels; readonly host?: string };
  readonly rows?: readonly { readonly name: string; readonly host: string; readonly line: number }[];
  /** That they are to be cloned from. */
  readonly vm?: string;
}

const seesAll = (asker: Asker): boolean => asker.access.everywhere('viewer');
const text = (fields: Fields, name: string): string => {
  const v = fields[name];
  return typeof v === 'string' ? v : '';
};
const unknown = (kind: string, name: string): ClusterError =>
  notFound(`${kind} ${name.slice(0, 80)} does not exist. See: berth ${kind} list`);

interface Named {
  readonly kind: 'vm' | 'host' | 'volume';
  readonly name: string;
  /** Undefined: there is no such object. */
  readonly labels: Labels | undefined;
}

function insist(asker: Asker, needs: Role, o: Named): void {
  if (o.labels === undefined) {
    if (seesAll(asker)) return; // refused by what resolves it, with a hint at names that are nearly so
    throw unknown(o.kind, o.name);
  }
  const object = { labels: o.labels };
  if (asker.access.on(needs, object)) return;
  if (!asker.access.on('viewer', object)) throw unknown(o.kind, o.name);
  throw denied(
    asker,
    needs,
    `${o.kind} ${o.name}`,
    [...ROLES].reverse().find((r) => asker.access.on(r, object)),
  );
}

const denied = (asker: Asker, needs: Role, what: string, has?: Role): ClusterError =>
  new ClusterError(
    'PERMISSION_DENIED',
    `${asker.user} is ${has ?? 'viewer'} of ${what} and may not do this: it takes the role ${needs}`,
  );

/** Nobody labels an object out of their own reach. */
export function insistLabels(asker: Asker, needs: Role, labels: Labels): void {
  if (asker.access.on(needs, { labels })) return;
  throw new ClusterError(
    'PERMISSION_DENIED',
    `with these labels ${asker.user} would not be ${needs} of it any more: ask an administrator`,
  );
}

/** A unit of storage becomes a volume with all that is in it, and no label tells whose that is. */
export function insistUnits(asker: Asker): void {
  if (asker.access.everywhere('operator')) return;
  throw new ClusterError(
    'PERMISSION_DENIED',
    `${asker.user} may not take a unit of storage, which may hold what is anybody's: it takes the role operator everywhere`,
  );
}
