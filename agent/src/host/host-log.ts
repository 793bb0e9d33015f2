/** Reading a log of the host: which domain is meant, how much of it, and how many may follow at once. */
import { ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { LOG_SOURCES, type HostLogs, type LogLine, type LogSource } from '../drivers/host-logs.ts';

export interface HostLogRequest {
  readonly source: string;
  readonly uuid: string;
  readonly name: string;
  readonly sinceMs: number;
  /** 0: 1,000. */
  readonly tailLines: number;
  readonly follow: boolean;
}

const DEFAULT_LINES = 1_000;
const MOST_LINES = 100_000;
const MOST_READERS = 32;

export class HostLog {
  private readers = 0;

  constructor(
    private readonly logs: HostLogs,
    private readonly hypervisor: Pick<Hypervisor, 'list'>,
  ) {}

  /** INVALID_ARGUMENT, NOT_FOUND, BAD_STATE as the driver says; RESOURCE_BUSY. */
  async *read(r: HostLogRequest, signal: AbortSignal): AsyncGenerator<readonly LogLine[]> {
    const source = checkSource(r.source);
    const tailLines = Math.min(MOST_LINES, r.tailLines || DEFAULT_LINES);
    const domain = source === 'qemu' ? await this.domainName(r) : '';
    if (this.readers >= MOST_READERS)
      throw new ClusterError('RESOURCE_BUSY', `${MOST_READERS} readers of logs are on this host already`);
    this.readers++;
    try {
      for await (const lines of this.logs.read({ ...r, source, tailLines, domain }, signal))
        if (lines.length > 0) yield lines;
    } finally {
      this.readers--;
    }
  }

  /** libvirt's own; while libvirt is away, what the controller calls it. */
  private async domainName({ uuid, name }: HostLogRequest): Promise<string> {
    const all = await this.hypervisor.list().catch(() => undefined);
    if (all === undefined) return name;
    const found = all.find((d) => d.uuid === uuid);
    if (found === undefined) throw notFound(`this host has no VM ${name.slice(0, 80)}`);
    return found.name;
  }
}

function checkSource(text: string): LogSource {
  const source = LOG_SOURCES.find((s) => s === text);
  if (source === undefined) throw invalidArgument(`log ${text.slice(0, 40)}: known are ${LOG_SOURCES.join(', ')}`);
  return source;
}
