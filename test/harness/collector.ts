/** A collector of traces for tests: takes OTLP over HTTP, and can be asked for one trace as a tree. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly service: string;
  readonly status: { readonly message?: string };
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
}

interface Batch {
  readonly resourceSpans: {
    readonly resource: {
      readonly attributes: { readonly key: string; readonly value: { readonly stringValue: string } }[];
    };
    readonly scopeSpans: { readonly spans: Omit<CollectedSpan, 'service'>[] }[];
  }[];
}

export class Collector {
  readonly spans: CollectedSpan[] = [];

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(host = '127.0.0.1'): Promise<Collector> {
    const server = createServer((req, res) => {
      let body = '';
      req.on('data', (d: Buffer) => (body += d.toString()));
      req.on('end', () => {
        collector.take(JSON.parse(body) as Batch);
        res.writeHead(200).end('{}');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    const collector = new Collector(server, `http://${host}:${(server.address() as AddressInfo).port}`);
    return collector;
  }

  /** From the span of this name down to its first child of the next name, and so on; as far as it came. */
  path(...names: readonly string[]): readonly CollectedSpan[] {
    const first = this.spans.filter((s) => s.name === names[0]);
    let best: readonly CollectedSpan[] = [];
    for (const root of first) {
      const found = this.below(root, names.slice(1));
      if (found.length > best.length) best = found;
    }
    return best;
  }

  private below(span: CollectedSpan, names: readonly string[]): readonly CollectedSpan[] {
    let best: readonly CollectedSpan[] = [];
    for (const child of this.spans.filter((s) => s.parentSpanId === span.spanId && s.name === names[0])) {
      const found = this.below(child, names.slice(1));
      if (found.length > best.length) best = found;
    }
    return [span, ...best];
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private take(batch: Batch): void {
    for (const { resource, scopeSpans } of batch.resourceSpans) {
      const service = resource.attributes.find((a) => a.key === 'service.name')?.value.stringValue ?? '';
      for (const span of scopeSpans.flatMap((s) => s.spans)) this.spans.push({ ...span, service });
    }
  }
}
