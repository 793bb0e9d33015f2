/**
 * A command as the beginning of a trace, for who asks for it by OTEL_EXPORTER_OTLP_ENDPOINT. A collector that is not there makes no
 * command slower: whether it is there is found out while the command runs.
 */
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { parseTraceparent } from '@berth/shared/trace/context.ts';
import { ParcelExporter } from '@berth/shared/trace/otlp-http.ts';
import { fineClock } from '@berth/shared/trace/start.ts';
import { startTracing, traced } from '@berth/shared/trace/trace.ts';
import { VERSION } from '@berth/shared/version.ts';
import { addressesOf } from './name-lookup.ts';

export interface CommandTrace {
  run(work: () => Promise<void>): Promise<void>;
  /** When it resolves, whatever could be sent is on its way. */
  end(): Promise<void>;
}

/** @param name what was typed, without names of objects: `berth vm start`. @throws INVALID_ARGUMENT for an endpoint that is none. */
export function traceCommand(name: string, o: { endpoint: string; parent: string | undefined }): CommandTrace {
  const resource = { service: 'berth', version: VERSION };
  const exporter = new ParcelExporter({ endpoint: o.endpoint, resource, clock: systemClock, addressesOf });
  startTracing({ sink: exporter.add, now: fineClock(systemClock), share: 1 });
  return {
    run: (work) => traced({ name, kind: 'client', parent: parseTraceparent(o.parent), begins: true }, work),
    end: () => exporter.end(),
  };
}
