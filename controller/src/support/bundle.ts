/**
 * A support bundle, made while it is read: the controller's part, then each host's as it comes, a few at a time, so that only those
 * are in memory; last the manifest. Nothing of it is written down here.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { LogRing } from '@berth/shared/log/ring.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { resolve } from '../app/names.ts';
import { writeTar, type TarFile } from '../backup/tar.ts';
import type { Config } from '../config.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import type { State } from '../state/state.ts';
import { controllerParts } from './controller-part.ts';
import { hostParts } from './host-part.ts';
import { jsonPart, missing, type Missing, type Part, type Parts } from './part.ts';

export interface SupportDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Pick<Jobs, 'list'>;
  readonly clock: Clock;
  readonly config: Config;
  readonly about: { readonly version: string; readonly startedAtMs: number };
  readonly ring: LogRing | undefined;
}

export interface BundleWanted {
  /** Name or id; empty: all. */
  readonly host: string;
  readonly selector: string;
  /** 0: 2,000. */
  readonly logLines: number;
}

const FOLDER = 'berth-support';
const HOSTS_AT_ONCE = 8;
const LONGEST_MS = 600_000;
const DEFAULT_LINES = 2_000;
const MOST_LINES = 20_000;

export class Support {
  private current: { readonly sinceMs: number } | undefined;

  constructor(private readonly d: SupportDeps) {}

  /** A tar archive under gzip. RESOURCE_BUSY while another is read; an event says who takes it. */
  async *bundle(wanted: BundleWanted, user: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const hosts = this.chosen(wanted);
    const mine = this.begin();
    try {
      await this.note(user);
      const lines = Math.min(MOST_LINES, wanted.logLines || DEFAULT_LINES);
      const gzip = createGzip();
      const done = pipeline(Readable.from(writeTar(this.files(hosts, lines, user, signal))), gzip, { signal });
      done.catch(() => undefined); // whoever reads hears of it
      for await (const piece of gzip) yield piece as Uint8Array;
      await done;
    } finally {
      if (this.current === mine) this.current = undefined;
    }
  }

  /** One at a time; a reader that has stopped to read is not waited for for ever. */
  private begin(): { readonly sinceMs: number } {
    const nowMs = this.d.clock.monotonic();
    if (this.current !== undefined && nowMs - this.current.sinceMs < LONGEST_MS)
      throw new ClusterError('RESOURCE_BUSY', 'another support bundle is being read: try again when it is done');
    return (this.current = { sinceMs: nowMs });
  }

  private chosen({ host, selector }: BundleWanted): readonly Host[] {
    const { hosts } = this.d.state.tables;
    const fits = parseSelector(selector);
    const named = host === '' ? [...hosts.values()] : [resolve('host', hosts, host)];
    return named.filter((h) => fits(h.labels)).sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  }

  private async note(user: string): Promise<void> {
    await this.d.state.update((tx) =>
      tx.event({
        ...{ type: 'controller.supportBundle', severity: 'info', subjectKind: 'controller', subject: 'controller' },
        ...{ message: `${user} takes a support bundle: logs and states of hosts`, jobId: undefined },
      }),
    );
  }

  private async *files(
    hosts: readonly Host[],
    lines: number,
    user: string,
    signal: AbortSignal,
  ): AsyncGenerator<TarFile> {
    const nowMs = this.d.clock.now();
    const written: { path: string; bytes: number; sha256: string }[] = [];
    const gaps: Missing[] = [];
    const file = ({ path, data }: Part): TarFile => {
      written.push({ path, bytes: data.length, sha256: createHash('sha256').update(data).digest('hex') });
      return tarFile({ path, data }, nowMs);
    };
    for await (const { parts, missing: not } of this.parts(hosts, lines, nowMs, signal)) {
      gaps.push(...not);
      for (const p of parts) yield file(p);
    }
    const manifest = { format: 1, madeAtMs: nowMs, by: user, version: this.d.about.version };
    const states = hosts.map((h) => ({ name: h.name, state: this.d.hosts.status(h.id).state }));
    const whole = {
      ...manifest,
      installationId: this.d.state.installationId,
      hosts: states,
      missing: gaps,
      files: written,
    };
    yield tarFile(jsonPart('manifest.json', whole), nowMs);
  }

  private async *parts(
    hosts: readonly Host[],
    lines: number,
    nowMs: number,
    signal: AbortSignal,
  ): AsyncGenerator<Parts> {
    yield await controllerParts({ ...this.d, nowMs }, lines, hosts).catch((e: unknown): Parts => ({
      parts: [],
      missing: [missing('controller', e)],
    }));
    const { tables } = this.d.state;
    const ask = (h: Host): Promise<Parts> =>
      hostParts({ ...this.d, tables }, h, lines, signal).catch((e: unknown) => ({
        parts: [],
        missing: [missing(`hosts/${h.name}`, e)],
      }));
    // a host's part waits for the ones before it: only so many are asked ahead of the reader
    const ahead: Promise<Parts>[] = [];
    for (const host of hosts) {
      ahead.push(ask(host));
      if (ahead.length >= HOSTS_AT_ONCE) yield await (ahead.shift() as Promise<Parts>);
      signal.throwIfAborted();
    }
    for (const rest of ahead) yield await rest;
  }
}

const tarFile = ({ path, data }: Part, mtimeMs: number): TarFile => ({
  ...{ path: `${FOLDER}/${path}`, bytes: data.length, mode: 0o600, mtimeMs },
  data: async function* () {
    yield data;
  },
});
