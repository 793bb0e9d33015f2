/**
 * What becomes of the rows of yesterday in a restored inventory. Jobs that were under way then have long ended, or were
 * replaced by others: going on would repeat what hosts did with other inputs since, and unwinding would remove what has become
 * a VM. So they end as they are, nothing is undone, and what they were making is compared with the hosts like all else. One
 * transaction; asks no host.
 */
import { isEnded, type Job } from '@berth/shared/model/job.ts';
import type { Tx } from '../state/state.ts';

export interface PutBack {
  readonly hosts: number;
  readonly vms: number;
  readonly images: number;
  /** In words: jobs that were ended. */
  readonly endedJobs: readonly string[];
}

export function putBack(tx: Tx, backupAtMs: number): PutBack {
  const endedJobs = tx.jobs.open().map((job) => endJob(tx, job));
  for (const vm of [...tx.vms.values()]) {
    if (vm.phase === 'ready') continue;
    if (vm.hostId === undefined) tx.vms.delete(vm.id);
    else tx.vms.put({ ...vm, phase: 'ready' });
  }
  for (const image of [...tx.images.values()]) {
    if (image.state === 'available') continue;
    if (image.digest === undefined) tx.images.delete(image.id);
    else tx.images.put({ ...image, state: 'available' });
  }
  for (const host of [...tx.hosts.values()])
    if (host.certificateFingerprint !== undefined)
      tx.reviews.put({ hostId: host.id, restoredAtMs: tx.nowMs, backupAtMs });
  tx.event({
    type: 'controller.restored',
    severity: 'alarm',
    subjectKind: 'controller',
    subject: 'controller',
    message: `the controller was restored from a backup of ${new Date(backupAtMs).toISOString()}. Look at what the hosts have: berth host review`,
    jobId: undefined,
  });
  tx.audit({
    ...{ user: '', tokenId: '', peer: '', method: 'controller.restored', objectKind: 'controller', object: '' },
    ...{ outcome: 'done', reason: '', count: 1, jobId: '', before: '', after: '' },
    message: `restored from a backup of ${new Date(backupAtMs).toISOString()}`,
  });
  return { hosts: tx.reviews.size, vms: tx.vms.size, images: tx.images.size, endedJobs };
}

function endJob(tx: Tx, job: Job): string {
  const message = 'it was under way when the backup was made; the restore ended it, and undid nothing';
  if (isEnded(job.state)) return '';
  tx.jobs.put({
    ...job,
    state: 'cancelled',
    endedAtMs: tx.nowMs,
    locks: [],
    wakeAtMs: undefined,
    waitReason: undefined,
    error: { reason: 'CANCELLED', message, meta: {} },
  });
  const words = `${job.kind} ${job.subject}`;
  tx.event({
    type: 'job.cancelled',
    severity: 'warning',
    subjectKind: 'job',
    subject: job.id,
    message: `${words}: ${message}`,
    jobId: job.id,
  });
  return words;
}
