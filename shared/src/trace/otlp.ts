/** Spans as OTLP says them in JSON (opentelemetry-proto, ExportTraceServiceRequest). Pure. */
import type { Attributes, Span, SpanKind } from './trace.ts';

/** What spans come from: `berth-controller` on which machine. */
export interface Resource {
  readonly service: string;
  readonly version: string;
  readonly attributes?: Attributes;
}

const KIND: Readonly<Record<SpanKind, number>> = { internal: 1, server: 2, client: 3 };
const ERROR = 2;
/** Words of errors may be long, and hold what a stranger wrote. */
const MOST_CHARS = 1_000;

const attributesOf = (a: Attributes): unknown[] =>
  Object.entries(a).map(([key, v]) => ({
    key,
    value: typeof v === 'string' ? { stringValue: v.slice(0, MOST_CHARS) } : { doubleValue: v },
  }));

/** Nanoseconds, which a number can't hold. */
const nanos = (ms: number): string => String(BigInt(Math.round(ms * 1000)) * 1000n);

const spanOf = (s: Span): unknown => ({
  traceId: s.traceId,
  spanId: s.spanId,
  ...(s.parentId === '' ? {} : { parentSpanId: s.parentId }),
  name: s.name,
  kind: KIND[s.kind],
  startTimeUnixNano: nanos(s.startMs),
  endTimeUnixNano: nanos(s.endMs),
  attributes: attributesOf(s.attributes),
  status: s.error === undefined ? {} : { code: ERROR, message: s.error.slice(0, MOST_CHARS) },
});

export function otlpOf({ service, version, attributes = {} }: Resource, spans: readonly Span[]): string {
  const resource = { 'service.name': service, 'service.version': version, ...attributes };
  const scopeSpans = [{ scope: { name: 'berth', version }, spans: spans.map(spanOf) }];
  return JSON.stringify({ resourceSpans: [{ resource: { attributes: attributesOf(resource) }, scopeSpans }] });
}
