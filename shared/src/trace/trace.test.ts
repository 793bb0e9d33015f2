/** Spans belong to what they were done for, cost nothing while nobody wants them, and no collector can hold anybody up. */
import { createServer, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../runtime/clock.ts';
import { SimClock } from '../sim/sim-clock.ts';
import { formatTraceparent, parseTraceparent } from './context.ts';
import { OtlpExporter, ParcelExporter, tracesUrl } from './otlp-http.ts';
import { fineClock } from './start.ts';
import { currentSpan, inSpan, startTracing, traced, type Span } from './trace.ts';

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

function listen(share = 1): Span[] {
  const spans: Span[] = [];
  ends.push(startTracing({ sink: (s) => spans.push(s), now: () => systemClock.now(), share }));
  return spans;
}

describe('where in a trace something is', () => {
  it('is read from what others send, and what is no such thing counts as nothing', () => {
    expect(formatTraceparent(parseTraceparent(PARENT)!)).toBe(PARENT);
    expect(parseTraceparent(PARENT.replace(/01$/, '00'))?.sampled).toBe(false);
    expect(parseTraceparent(`${PARENT.replace(/^00/, '01')}-of-tomorrow`)?.traceId).toHaveLength(32);
    const wrong = [
      '',
      'x',
      PARENT.toUpperCase(),
      PARENT.replace(/^00/, 'ff'),
      `${PARENT}-x`,
      PARENT.replace(/0af\w+/, '0'.repeat(32)),
    ];
    for (const text of [...wrong, undefined]) expect(parseTraceparent(text)).toBeUndefined();
  });
});

describe('spans', () => {
  it('are none while tracing is off, and what is done is done all the same', async () => {
    expect(await traced({ name: 'a', begins: true }, async () => currentSpan() ?? 7)).toBe(7);
  });

  it('belong to the one around them, over awaits, and say what went wrong', async () => {
    const spans = listen();
    const parent = parseTraceparent(PARENT);
    const failing = traced({ name: 'outer', kind: 'server', parent }, async () => {
      await traced({ name: 'first' }, async () => systemClock.sleep(1));
      await Promise.all([1, 2].map((i) => traced({ name: `of ${i}` }, async () => systemClock.sleep(2))));
      throw new Error('no room');
    });
    await expect(failing).rejects.toThrow('no room');
    const outer = spans.at(-1);
    expect(outer).toMatchObject({ name: 'outer', kind: 'server', parentId: parent?.spanId, error: 'no room' });
    expect(spans.slice(0, -1).map((s) => [s.name, s.parentId])).toEqual(
      ['first', 'of 1', 'of 2'].map((n) => [n, outer?.spanId]),
    );
    expect(new Set(spans.map((s) => s.traceId))).toEqual(new Set([parent?.traceId]));
  });

  it('are none of what nobody asked for, and of traces that are not recorded', async () => {
    const spans = listen(0);
    await traced({ name: 'by itself' }, async () => undefined);
    await traced({ name: 'begun', begins: true }, () => traced({ name: 'in it' }, async () => undefined));
    await traced({ name: 'not wanted', parent: parseTraceparent(PARENT.replace(/01$/, '00')) }, async () => undefined);
    await traced({ name: 'outer', parent: parseTraceparent(PARENT) }, async () =>
      inSpan(undefined, () => traced({ name: 'of nobody' }, async () => undefined)),
    );
    expect(spans.map((s) => s.name)).toEqual(['outer']);
  });

  it('are so many of one call, and no more, however long what it began goes on', async () => {
    const spans = listen();
    const parent = parseTraceparent(PARENT);
    const look = (): Promise<void> => traced({ name: 'look' }, async () => undefined);
    await traced({ name: 'outer', parent }, async () => {
      for (let i = 0; i < 5_000; i++) await traced({ name: 'round' }, look);
    });
    expect([spans.length, spans.at(-1)?.name]).toEqual([1_000, 'outer']);
    await traced({ name: 'the next call', parent }, look);
    expect(spans.slice(1_000).map((s) => s.name)).toEqual(['look', 'the next call']);
  });

  it('have times that tell parts of a millisecond apart and follow the clock when it is set', () => {
    let [wall, monotonic] = [1_000, 0.25];
    const now = fineClock({ ...systemClock, now: () => wall, monotonic: () => monotonic });
    monotonic = 0.75;
    expect(now()).toBe(1_000.5);
    wall = 90_000;
    expect(now()).toBe(90_000);
  });
});

interface Collector {
  readonly url: string;
  readonly got: { readonly path: string; readonly body: string }[];
}

async function collector(answer: (server: Server) => number | undefined = () => 200): Promise<Collector> {
  const got: { path: string; body: string }[] = [];
  const server = createServer((req, res) => {
    let body = '';
    req.on('data', (d: Buffer) => (body += d.toString()));
    req.on('end', () => {
      got.push({ path: req.url ?? '', body });
      const status = answer(server);
      if (status !== undefined) res.writeHead(status).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve))));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, got };
}

const span = (name: string): Span => ({
  ...{ traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', sampled: true, parentId: '' },
  ...{
    name,
    kind: 'server',
    attributes: { a: 'b', n: 1 },
    startMs: 1_800_000_000_000.25,
    endMs: 1_800_000_000_001,
    error: 'no',
  },
});
const resource = { service: 'test', version: '1' };

describe('what goes to a collector', () => {
  it('is OTLP as JSON, in one batch', async () => {
    const { url, got } = await collector();
    const exporter = new OtlpExporter({ endpoint: url, resource, clock: systemClock });
    exporter.add(span('one'));
    exporter.add(span('two'));
    await expect.poll(() => got.length, { timeout: 10_000 }).toBe(1);
    expect(got[0]?.path).toBe('/v1/traces');
    const body = JSON.parse(got[0]?.body ?? '') as {
      resourceSpans: { resource: { attributes: unknown[] }; scopeSpans: { spans: Record<string, unknown>[] }[] }[];
    };
    expect(body.resourceSpans[0]?.resource.attributes[0]).toEqual({
      key: 'service.name',
      value: { stringValue: 'test' },
    });
    expect(body.resourceSpans[0]?.scopeSpans[0]?.spans).toHaveLength(2);
    expect(body.resourceSpans[0]?.scopeSpans[0]?.spans[0]).toMatchObject({
      ...{ name: 'one', kind: 2, startTimeUnixNano: '1800000000000250000', endTimeUnixNano: '1800000000001000000' },
      status: { code: 2, message: 'no' },
    });
    exporter.stop();
  });

  it('is lost when nobody takes it, and never more than a bounded number waits', async () => {
    const clock = new SimClock();
    const exporter = new OtlpExporter({ endpoint: 'http://127.0.0.1:1', resource, clock });
    for (let i = 0; i < 10_000; i++) exporter.add(span('x'));
    expect(exporter.lost).toBe(10_000 - 2_048);
    exporter.send();
    await expect.poll(() => exporter.lost, { timeout: 10_000 }).toBe(10_000 - 2_048 + 512);
    await clock.advance(1_000);
    expect(exporter.lost).toBe(10_000); // it rests, and keeps nothing meanwhile
    exporter.stop();
  });

  it('is given up on after a while when the collector is silent, with one request under way', async () => {
    const clock = new SimClock();
    const { url, got } = await collector(() => undefined);
    const exporter = new OtlpExporter({ endpoint: url, resource, clock });
    exporter.add(span('one'));
    await clock.advance(1_000);
    await expect.poll(() => got.length, { timeout: 10_000 }).toBe(1);
    exporter.add(span('two'));
    await clock.advance(2_000);
    expect(got).toHaveLength(1);
    await clock.advance(5_000);
    await expect.poll(() => exporter.lost, { timeout: 10_000 }).toBeGreaterThanOrEqual(1);
    exporter.stop();
  });

  it('goes to a URL of http alone', () => {
    expect(tracesUrl('http://c:4318').href).toBe('http://c:4318/v1/traces');
    expect(tracesUrl('https://c/otel').href).toBe('https://c/otel');
    for (const wrong of ['c:4318', 'ftp://c', 'x']) expect(() => tracesUrl(wrong)).toThrow(/OTLP|URL/);
  });
});

describe('what a program sends that ends soon', () => {
  const addressesOf = async () => ['127.0.0.1'];

  it('goes to the address that a name has, and asks for the name in its own words', async () => {
    const { url, got } = await collector();
    const named = url.replace('127.0.0.1', 'collector.test');
    const exporter = new ParcelExporter({ endpoint: named, resource, clock: systemClock, addressesOf });
    exporter.add(span('one'));
    await expect
      .poll(() => exporter.end().then(() => got.length), { timeout: 10_000, interval: 50 })
      .toBeGreaterThan(0);
    expect(got[0]?.body).toContain('"name":"one"');
  });

  it('gives up a look-up that is not answered when it ends', async () => {
    let given: AbortSignal | undefined;
    const silent = (_: string, signal: AbortSignal) => {
      given = signal;
      return new Promise<never>(() => undefined);
    };
    const endpoint = 'http://collector.test:4318';
    const exporter = new ParcelExporter({ endpoint, resource, clock: systemClock, addressesOf: silent });
    exporter.add(span('one'));
    await exporter.end();
    expect(given?.aborted).toBe(true);
  });

  it('arrives whole when the collector is there', async () => {
    const { url, got } = await collector();
    const exporter = new ParcelExporter({ endpoint: url, resource, clock: systemClock, addressesOf });
    exporter.add(span('one'));
    await expect
      .poll(() => exporter.end().then(() => got.length), { timeout: 10_000, interval: 50 })
      .toBeGreaterThan(0);
    expect(got[0]?.body).toContain('"name":"one"');
  });

  it('is not waited for where nobody listens, nor where somebody listens and says nothing', async () => {
    const silent = createTcpServer(() => undefined).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    ends.push(() => silent.close());
    const { port } = silent.address() as AddressInfo;
    for (const endpoint of ['http://127.0.0.1:1', 'http://192.0.2.1:4318', `http://127.0.0.1:${port}`]) {
      const exporter = new ParcelExporter({ endpoint, resource, clock: systemClock, addressesOf });
      exporter.add(span('one'));
      await systemClock.sleep(20);
      const began = systemClock.monotonic();
      await exporter.end();
      expect(systemClock.monotonic() - began, endpoint).toBeLessThan(4_000); // a call that is given up takes five seconds
    }
  });
});
