/** Images brought to many hosts at once: which hosts are meant, and a copy started for each that lacks it. Talks to no host. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { fetchKey, imageFetch } from '../jobs/image-fetch.ts';
import type { State } from '../state/state.ts';
import { resolve } from './names.ts';
import { usableImage } from './usable-image.ts';

export interface PushDeps {
  readonly state: State;
  readonly hosts: Pick<Hosts, 'status'>;
  readonly jobs: Pick<Jobs, 'start'>;
}

export interface PushWanted {
  readonly image: string;
  readonly hosts: readonly string[];
  readonly selector?: string | undefined;
  readonly all: boolean;
}

export interface Pushed {
  /** Undefined: the host has the image already. */
  readonly pushes: readonly { readonly host: string; readonly jobId: JobId | undefined }[];
  readonly unreachable: readonly string[];
}

export class ImagePushes {
  constructor(private readonly deps: PushDeps) {}

  /** All of them in one update: one refusal, and none is started. */
  push(wanted: PushWanted, user: string): Promise<Pushed> {
    const { state, jobs } = this.deps;
    return state.update((tx) => {
      const image = usableImage(tx, wanted.image);
      const { meant, unreachable } = this.#meant(wanted);
      const pushes = meant.map((host) => {
        const copy = { imageId: image.id, hostId: host.id };
        if (tx.imageCopies.get(imageCopyKey(copy))) return { host: host.name, jobId: undefined };
        const locks = [`image/${image.id}:shared` as const];
        const options = { subject: image.name, locks, key: fetchKey(copy), user };
        return { host: host.name, jobId: jobs.start(tx, imageFetch, copy, options) };
      });
      return { pushes, unreachable };
    });
  }

  #meant({ hosts, selector, all }: PushWanted): { meant: readonly Host[]; unreachable: readonly string[] } {
    const table = this.deps.state.tables.hosts;
    const ways = [hosts.length > 0, selector !== undefined, all].filter(Boolean).length;
    if (ways !== 1) throw invalidArgument('to which hosts? Name them, or a selector of their labels, or say all');
    if (hosts.length > 0) return { meant: [...new Set(hosts.map((h) => resolve('host', table, h)))], unreachable: [] };
    const chosen = selector === undefined ? (): boolean => true : parseSelector(selector);
    const wanted = [...table.values()].filter((h) => chosen(h.labels)).sort((a, b) => (a.name < b.name ? -1 : 1));
    const isUp = ({ id }: Host): boolean => ['up', 'maintenance'].includes(this.deps.hosts.status(id).state);
    return { meant: wanted.filter(isUp), unreachable: wanted.filter((h) => !isUp(h)).map((h) => h.name) };
  }
}
