/** Switches tracing on for a daemon. Loaded only where the configuration asks for it. */
import type { Clock } from '../runtime/clock.ts';
import type { Attributes } from './trace.ts';
import { OtlpExporter } from './otlp-http.ts';
import { startTracing } from './trace.ts';

export interface TracingConfig {
  /** URL of a collector that takes OTLP over HTTP. */
  readonly endpoint: string;
  /** Of traces that begin here, 0 to 1. */
  readonly share: number;
}

export interface Traced {
  readonly service: string;
  readonly version: string;
  readonly attributes?: Attributes;
  readonly clock: Clock;
}

/** @returns what ends it. INVALID_ARGUMENT for an endpoint that is none. */
export function startDaemonTracing({ endpoint, share }: TracingConfig, { clock, ...resource }: Traced): () => void {
  const exporter = new OtlpExporter({ endpoint, resource, clock });
  const end = startTracing({ sink: exporter.add, now: fineClock(clock), share });
  return () => {
    end();
    exporter.stop();
  };
}

const MOST_DRIFT_MS = 20;

/** Wall-clock time that tells parts of a millisecond apart, and follows the clock when that is set. */
export function fineClock(clock: Clock): () => number {
  let base = clock.now() - clock.monotonic();
  return () => {
    const now = clock.now();
    const fine = base + clock.monotonic();
    if (Math.abs(now - fine) <= MOST_DRIFT_MS) return fine;
    base = now - clock.monotonic();
    return now;
  };
}
