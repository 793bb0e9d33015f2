/**
 * Spans: what was done, when, and on whose behalf. Off unless a program starts it; then nothing here costs more than a look at
 * one variable. The context travels along with promises. What becomes of spans is the sink's (otlp.ts).
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { newBytes } from '../runtime/random.ts';
import { formatTraceparent, type SpanContext } from './context.ts';

export type SpanKind = 'internal' | 'server' | 'client';
export type Attributes = Readonly<Record<string, string | number>>;

export interface Span extends SpanContext {
  /** Empty: it is the first of its trace. */
  readonly parentId: string;
  readonly name: string;
  readonly kind: SpanKind;
  readonly attributes: Attributes;
  readonly startMs: number;
  readonly endMs: number;
  /** What went wrong, in words; undefined: nothing. */
  readonly error: string | undefined;
}

export interface Tracing {
  readonly sink: (span: Span) => void;
  readonly now: () => number;
  /** Share of traces begun here that are recorded, 0 to 1. Whoever calls us decides for theirs. */
  readonly share: number;
}

/** What a span is, before it has ended. */
export interface Described {
  readonly name: string;
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /** Where it belongs; otherwise to what is under way. */
  readonly parent?: SpanContext | undefined;
  /** Begins a trace where none is under way. */
  readonly begins?: boolean;
}

/** With what all that it leads to in this process may still record. */
interface Ongoing extends SpanContext {
  readonly budget?: { left: number };
}

/**
 * Of one call or command, in one process. What it leads to may go on for days: an operation that looks every moment how far a copy is,
 * a timer that was set for it and sets the next.
 */
const MOST_SPANS = 1_000;

let tracing: Tracing | undefined;
const under = new AsyncLocalStorage<Ongoing | undefined>();

/** @returns what ends it. */
export function startTracing(o: Tracing): () => void {
  tracing = o;
  return () => {
    if (tracing === o) tracing = undefined;
  };
}

export const isTracing = (): boolean => tracing !== undefined;
/** What is under way; undefined: nothing, or nobody wants to know. */
export const currentSpan = (): SpanContext | undefined => (tracing === undefined ? undefined : under.getStore());
/** For the next one on the wire. */
export function currentTraceparent(): string | undefined {
  const current = currentSpan();
  return current && formatTraceparent(current);
}

/** Runs `work` as part of what `context` says; undefined: as part of nothing. */
export const inSpan = <T>(context: SpanContext | undefined, work: () => T): T =>
  tracing === undefined ? work() : under.run(context, work);

const hex = (bytes: number): string => Buffer.from(newBytes(bytes)).toString('hex');

/** A span that is to be; undefined when there is nothing that it would be part of. */
export function childOf(parent: SpanContext | undefined, begins = false): SpanContext | undefined {
  if (tracing === undefined || (parent === undefined && !begins)) return undefined;
  if (parent !== undefined) return { traceId: parent.traceId, spanId: hex(8), sampled: parent.sampled };
  return { traceId: hex(16), spanId: hex(8), sampled: tracing.share >= 1 || chance() < tracing.share };
}

const chance = (): number => Buffer.from(newBytes(4)).readUInt32BE(0) / 2 ** 32;

/** Hands a span over that has ended, if somebody wants it. */
export function record(span: Span): void {
  if (span.sampled) tracing?.sink(span);
}

/** Runs `work` as a span of its own. */
export function traced<T>(d: Described, work: () => Promise<T>): Promise<T> {
  if (tracing === undefined) return work();
  const parent: Ongoing | undefined = d.parent ?? under.getStore();
  const budget = parent?.budget ?? { left: MOST_SPANS };
  if (budget.left <= 0) return work();
  const child = childOf(parent, d.begins);
  if (child === undefined) return work();
  budget.left--;
  return under.run({ ...child, budget }, () => measured(d, child, parent, work));
}

async function measured<T>(
  d: Described,
  own: SpanContext,
  parent: SpanContext | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const now = tracing?.now ?? (() => 0);
  const startMs = now();
  const { name, kind = 'internal', attributes = {} } = d;
  const ended = (error: string | undefined): void =>
    record({ ...own, parentId: parent?.spanId ?? '', name, kind, attributes, startMs, endMs: now(), error });
  try {
    const result = await work();
    ended(undefined);
    return result;
  } catch (e) {
    ended(e instanceof Error ? e.message : String(e));
    throw e;
  }
}
