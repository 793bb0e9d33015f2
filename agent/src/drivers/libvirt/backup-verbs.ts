/**
 * A copy of the disks of a guest that runs, as they are at one moment, written by QEMU (a push backup) while the guest goes on.
 * Files, names and what becomes of them are the caller's.
 */
import { dirname } from 'node:path';
import { badState, chain, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { attributeAt, find, findAll, parseXml } from '../../domain/xml/tree.ts';
import type { BackupTarget } from '../hypervisor.ts';
import type { DomainCache } from './domain-cache.ts';
import { CODE, hasCode } from './errors.ts';
import { GUEST_DEADLINE_MS } from './guest-verbs.ts';
import type { Pool } from './pool.ts';
import { PROC } from './procedures.ts';
import { READ_DEADLINE_MS, refOf } from './read-domain.ts';
import type { DomainRef } from './types.ts';

export interface BackupVerbOptions {
  readonly quick: Pool;
  readonly start: Pool;
  readonly guest: Pool;
  readonly cache: DomainCache;
  readonly clock: Clock;
  readonly log: Log;
}

export interface BackupWork {
  readonly signal: AbortSignal;
  onProgress(doneBytes: number, totalBytes: number): void;
}

/** VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL: the files are there. */
const REUSE = 1;
/** VIR_DOMAIN_JOB_STATS_COMPLETED */
const COMPLETED = 1;
/** VIR_DOMAIN_JOB_*: how a job stands. */
const JOB = { none: 0, completed: 3 } as const;
/** VIR_DOMAIN_JOB_OPERATION_BACKUP */
const BACKUP = 9;
/** VIR_ERR_NO_DOMAIN_BACKUP */
const NO_BACKUP = 104;
const BEGIN_DEADLINE_MS = 60_000;
const LOOK_EVERY_MS = 500;

export class BackupVerbs {
  constructor(readonly opts: BackupVerbOptions) {}

  /** @param begun called when the moment is taken. */
  async backup(
    uuid: string,
    disks: readonly BackupTarget[],
    work: BackupWork,
    begun: () => Promise<void>,
  ): Promise<void> {
    const dom = refOf(uuid, this.opts.cache.find(uuid)?.name);
    await this.#endFormer(dom, disks);
    const args = { dom, backupXml: backupXml(disks), checkpointXml: undefined, flags: REUSE };
    const stop = (): void => void this.#abort(dom);
    try {
      await this.opts.start.call(PROC.backupBegin, args, `copy the disks of domain ${dom.name}`, BEGIN_DEADLINE_MS);
    } catch (e) {
      throw explained(dom, e);
    }
    work.signal.addEventListener('abort', stop, { once: true });
    try {
      await begun();
      if (work.signal.aborted) stop();
      await this.#follow(dom, work);
    } catch (e) {
      // nobody would end it, and the next would have to
      if (!work.signal.aborted) await this.#abort(dom);
      throw e;
    } finally {
      work.signal.removeEventListener('abort', stop);
    }
    work.signal.throwIfAborted();
    await this.#insistDone(dom);
  }

  /** Of a former life of the agent, which nobody waits for any more. @throws RESOURCE_BUSY: it is somebody else's */
  async #endFormer(dom: DomainRef, disks: readonly BackupTarget[]): Promise<void> {
    for (const deadline = this.opts.clock.monotonic() + BEGIN_DEADLINE_MS; ;) {
      const { type, operation } = await this.#look(dom, 0);
      if (type === JOB.none || operation !== BACKUP || this.opts.clock.monotonic() > deadline) return;
      const xml = await this.#xml(dom);
      if (xml !== undefined && !isOurs(xml, disks))
        throw new ClusterError(
          'RESOURCE_BUSY',
          `the disks of vm ${dom.name} are being copied by somebody else (a backup program on its host?). Try again when that has ended`,
        );
      if (xml !== undefined) await this.#abort(dom);
      await this.opts.clock.sleep(LOOK_EVERY_MS);
    }
  }

  /** Undefined: there is none any more. */
  async #xml(dom: DomainRef): Promise<string | undefined> {
    const what = `see who copies the disks of ${dom.name}`;
    try {
      return (await this.opts.guest.call(PROC.backupXml, { dom, flags: 0 }, what, GUEST_DEADLINE_MS)).xml;
    } catch (e) {
      if (hasCode(e, NO_BACKUP, CODE.operationInvalid)) return undefined;
      throw e;
    }
  }

  async #follow(dom: DomainRef, work: BackupWork): Promise<void> {
    for (;;) {
      const { type, doneBytes, totalBytes } = await this.#look(dom, 0);
      if (type === JOB.none) return;
      if (totalBytes > 0) work.onProgress(doneBytes, totalBytes);
      await this.opts.clock.sleep(LOOK_EVERY_MS);
    }
  }

  async #insistDone(dom: DomainRef): Promise<void> {
    const { type, words } = await this.#look(dom, COMPLETED);
    if (type === JOB.completed) return;
    throw new ClusterError(
      'INTERNAL',
      `the disks of vm ${dom.name} could not be copied while it runs${words === '' ? ': QEMU gave up (no room, or it ended)' : `: ${words}`}`,
    );
  }

  async #look(dom: DomainRef, flags: number) {
    const what = `see how far the copy of ${dom.name} is`;
    try {
      const { type, params } = await this.opts.guest.call(PROC.jobStats, { dom, flags }, what, GUEST_DEADLINE_MS);
      const of = (name: string): unknown => params.find((p) => p.field === name)?.value.value;
      return {
        ...{ type, operation: Number(of('operation') ?? BACKUP), words: String(of('errmsg') ?? '') },
        ...{ doneBytes: Number(of('disk_processed') ?? 0), totalBytes: Number(of('disk_total') ?? 0) },
      };
    } catch (e) {
      if (!hasCode(e, CODE.operationInvalid)) throw e;
      throw badState(`vm ${dom.name} went off while its disks were copied. Capture it again`, { libvirt: chain(e) });
    }
  }

  async #abort(dom: DomainRef): Promise<void> {
    const asked = this.opts.quick.call(PROC.abortJob, { dom }, `end the copy of ${dom.name}`, READ_DEADLINE_MS);
    await asked.catch((e: unknown) => this.opts.log.info({ err: e, domain: dom.name }, 'a copy could not be ended'));
  }
}

function explained(dom: DomainRef, e: unknown): unknown {
  if (hasCode(e, CODE.operationTimeout))
    return new ClusterError('RESOURCE_BUSY', `libvirt still works on vm ${dom.name}`, { libvirt: chain(e) });
  return e;
}

/** It is written to files in the folder of all our captures, and to nothing else. */
function isOurs(xml: string, disks: readonly BackupTarget[]): boolean {
  const root = parseXml(xml);
  const folders = new Set(disks.map((d) => dirname(dirname(d.path))));
  const copied = findAll(find(root, 'disks'), 'disk').filter((d) => d.attributes['backup'] !== 'no');
  const targets = copied.map((d) => attributeAt(d, 'file', 'target'));
  return (
    root.attributes['mode'] !== 'pull' &&
    targets.length > 0 &&
    targets.every((t) => folders.has(dirname(dirname(t ?? ''))))
  );
}

const escape = (text: string): string => text.replace(/[<>&'"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Disks that are not named stay out. */
export const backupXml = (disks: readonly BackupTarget[]): string =>
  [
    `<domainbackup mode='push'><disks>`,
    ...disks.map(
      ({ target, path }) =>
        `<disk name='${escape(target)}' backup='yes' type='file' backupmode='full'>` +
        `<target file='${escape(path)}'/><driver type='qcow2'/></disk>`,
    ),
    `</disks></domainbackup>`,
  ].join('');
