/** Operators over the public API: many requests at once over one connection, which the command line is too slow for. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createApi, type Api } from '@berth/controller/cli/core/api.ts';
import { CloneVmRequest, CreateVmRequest } from '@berth/proto/v1/vm.ts';
import { JobState, type Job } from '@berth/proto/v1/job.ts';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { fetchPinnedCa } from '@berth/shared/trust/pin.ts';
import type { Cluster } from './cluster.ts';
import { eventually } from './processes.ts';

type Answer = Promise<{ readonly jobId: string }>;
const OPEN: readonly JobState[] = [JobState.RUNNING, JobState.WAITING, JobState.UNWINDING];

export class Operator {
  private constructor(readonly api: Api) {}

  static async of(cluster: Cluster): Promise<Operator> {
    const { token, caPin } = decodeLoginLine(readFileSync(join(cluster.dataDir, 'admin-token'), 'utf8'));
    const ca = await fetchPinnedCa(cluster.address, caPin);
    return new Operator(createApi({ controller: cluster.address, ca, token }, () => systemClock.now()));
  }

  clone(name: string, over: Partial<CloneVmRequest> = {}): Answer {
    const wanted = CloneVmRequest.fromPartial({ image: 'base', name, memoryBytes: 64n * 2n ** 20n, ...over });
    return this.api.call(this.api.vms, (c) => c.cloneVm, wanted);
  }
  create(name: string): Answer {
    const wanted = CreateVmRequest.fromPartial({ name, memoryBytes: 64n * 2n ** 20n, diskSizeBytes: 2n ** 20n });
    return this.api.call(this.api.vms, (c) => c.createVm, wanted);
  }
  start(vm: string): Answer {
    return this.api.call(this.api.vms, (c) => c.startVm, { vm });
  }
  stop(vm: string, force = true): Answer {
    return this.api.call(this.api.vms, (c) => c.stopVm, { vm, force, timeoutMs: 5_000n, thenForce: true });
  }
  delete(vm: string, force = true): Answer {
    return this.api.call(this.api.vms, (c) => c.deleteVm, { vm, force });
  }
  deleteImage(image: string): Answer {
    return this.api.call(this.api.images, (c) => c.deleteImage, { image });
  }
  cancel(job: string): Promise<Job> {
    return this.api.call(this.api.jobs, (c) => c.cancelJob, { job });
  }
  async openJobs(): Promise<readonly Job[]> {
    const page = { pageSize: 1_000, pageToken: '' };
    return (await this.api.call(this.api.jobs, (c) => c.listJobs, { openOnly: true, page })).jobs;
  }

  /** Sends a file, or the beginning of it, and leaves; answers the job. */
  async import(
    name: string,
    file: Buffer,
    sentBytes = file.length,
  ): Promise<{ jobId: string; sent: Promise<unknown> }> {
    const request = { name, fileBytes: BigInt(file.length), allocatedBytes: 0n, format: '', host: '' };
    const { image, jobId, uploadTicket } = await this.api.call(this.api.images, (c) => c.importImage, request);
    const { sink, done } = this.api.upload(new AbortController().signal);
    sink.on('error', () => undefined);
    sink.write({ message: { $case: 'begin', value: { imageId: image?.id ?? '', ticket: uploadTicket } } });
    for (let at = 0; at < sentBytes; at += 1 << 18)
      sink.write({ message: { $case: 'data', value: file.subarray(at, Math.min(sentBytes, at + (1 << 18))) } });
    if (sentBytes === file.length) sink.end();
    return { jobId, sent: done.catch(() => undefined) };
  }

  /** How the job ended: `succeeded`, or the reason of its error. */
  async ended(jobId: string, deadlineMs = 60_000): Promise<string> {
    const job = await eventually(
      `job ${jobId} ends`,
      async () => {
        const now = await this.api.call(this.api.jobs, (c) => c.getJob, { job: jobId });
        return OPEN.includes(now.state) ? undefined : now;
      },
      deadlineMs,
    );
    return job.state === JobState.SUCCEEDED ? 'succeeded' : job.errorReason || JobState[job.state];
  }

  /** How a request ended, its job included: `succeeded`, or the reason why not. */
  async outcome(answer: Answer): Promise<string> {
    try {
      const { jobId } = await answer;
      return jobId === '' ? 'nothing to do' : await this.ended(jobId);
    } catch (e) {
      if (isClusterError(e)) return e.reason;
      throw e;
    }
  }

  close(): void {
    this.api.close();
  }
}
