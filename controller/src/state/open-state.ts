/** Opens the state, over SQLite or (`:memory:`) over nothing that lasts. The only place that picks the engine. */
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { MemoryDisk, MemoryEngine } from './memory-engine.ts';
import { newId } from '@berth/shared/model/ids.ts';
import { SqliteEngine } from './sqlite/sqlite-engine.ts';
import type { State } from './state.ts';
import { Store } from './store.ts';

export interface OpenStateOptions {
  /** A database made by initState, or `:memory:`: a fresh installation that ends with the process. */
  readonly path: string;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Pick<Log, 'error' | 'fatal'>;
  /** A commit failed: stop the process, at once. */
  readonly onFatal: (e: unknown) => void;
  /** The bundled SQLite thread; beside the controller's bundle unless said otherwise. */
  readonly workerFile?: string | URL;
  /** See StoreOptions. */
  readonly onCommit?: (updates: number) => () => void;
}

export function openState(o: OpenStateOptions): Promise<State> {
  const engine =
    o.path === ':memory:'
      ? new MemoryEngine({ disk: new MemoryDisk(newId('installation', o.clock.now())) })
      : new SqliteEngine(o.path, o.workerFile ?? new URL('./sqlite-worker.js', import.meta.url));
  return Store.open({ engine, clock: o.clock, log: o.log, onFatal: o.onFatal, onCommit: o.onCommit });
}
