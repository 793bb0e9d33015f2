/** A calm simulated cluster for tests of the services: three hosts, one image, and helpers that let time pass. */
import { Readable } from 'node:stream';
import type { VmAnswer } from '@berth/controller/app/vm-deps.ts';
import type { CloneVm } from '@berth/controller/app/vm-request.ts';
import type { HostId, JobId } from '@berth/shared/model/ids.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import { isEnded } from '@berth/shared/model/job.ts';
import { SimCluster, type Life } from '../sim/sim-cluster.ts';

export class AppCluster {
  private constructor(readonly sim: SimCluster) {}

  static async make(): Promise<AppCluster> {
    const cluster = new AppCluster(new SimCluster(1));
    await cluster.sim.boot(Infinity);
    await cluster.sim.addHosts(['h1', 'h2', 'h3']);
    return cluster;
  }

  get life(): Life {
    if (!this.sim.life) throw new Error('the controller is dead');
    return this.sim.life;
  }

  /** Lets time pass until the job has ended; gives back how. */
  async ended(jobId: JobId | undefined): Promise<string> {
    if (jobId === undefined) return 'no job';
    for (let n = 0; n < 5000; n++) {
      const job = this.life.state.tables.jobs.get(jobId);
      if (job && isEnded(job.state)) return job.state;
      if (!(await this.sim.clock.step())) break;
    }
    throw new Error(`job ${jobId} does not end: ${this.life.state.tables.jobs.get(jobId)?.waitReason}`);
  }

  async done(answer: Promise<VmAnswer>): Promise<string> {
    return this.ended((await this.timed(answer)).jobId);
  }

  /** Answers that need some time to pass. */
  async timed<T>(answer: Promise<T>): Promise<T> {
    let open = true;
    const settled = answer.finally(() => (open = false));
    settled.catch(() => undefined);
    for (let n = 0; open && n < 1000; n++) await this.sim.clock.advance(100);
    return settled;
  }

  async import(name: string, text = 'disk'): Promise<string> {
    const { images } = this.life;
    const made = await this.timed(
      images.import({ name, fileBytes: text.length, allocatedBytes: text.length, format: '', host: '' }, 'test'),
    );
    const data = Readable.from([Buffer.from(text)]);
    const about = { imageId: made.view.image.id, ticket: made.uploadTicket, user: 'test' };
    await this.timed(images.upload(about, data));
    return this.ended(made.jobId);
  }

  /** The controller is killed, and started again. */
  async restart(): Promise<void> {
    this.sim.kill();
    await this.sim.clock.advance(1_000);
    await this.timed(this.sim.boot(Infinity));
    await this.sim.clock.advance(1_000);
  }

  /** The file of an image goes from one host, and is known to be gone. */
  async forgetCopy(image: string, host: string): Promise<void> {
    const { state } = this.life;
    const { id: imageId, digest } = state.tables.images.byName(image) ?? {};
    if (!imageId || !digest) throw new Error(`no image ${image}`);
    this.sim.hosts.host(this.hostId(host)).images.delete(digest);
    await this.timed(state.update((tx) => tx.imageCopies.delete(imageCopyKey({ imageId, hostId: this.hostId(host) }))));
  }

  clone(name: string, over: Partial<CloneVm> = {}): Promise<VmAnswer> {
    const plain = { address: '', gateway: '', dns: [], sshKeys: [], userData: '', labels: {}, dryRun: false };
    const usual = { vcpus: 0, memoryBytes: 0, diskSizeBytes: 0, host: '', bridge: '', mac: '' };
    return this.life.making.clone({ name, image: 'base', ...plain, ...usual, ...over }, 'test');
  }

  hostId(name: string): HostId {
    const host = this.life.state.tables.hosts.byName(name);
    if (!host) throw new Error(`no host ${name}`);
    return host.id;
  }
}
