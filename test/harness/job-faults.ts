/** What the job harness does to a job's steps: run twice, fail here or there, lose calls and answers. */
import type { AnyJobDef, AnyStep, EngineDeps } from '@berth/controller/jobs/engine/define.ts';
import { Wait } from '@berth/controller/jobs/engine/define.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';

export interface Faults {
  /** Of a lost call or answer. */
  readonly probability: number;
  readonly random: () => number;
}

type Patch = (s: AnyStep) => Partial<AnyStep>;
export const patch = (def: AnyJobDef, p: Patch): AnyJobDef => ({
  ...def,
  steps: def.steps.map((s) => ({ ...s, ...p(s) })),
});

export function injected(): never {
  throw new Error('injected');
}

/** Remote work is at least once, so it must bear repeating. Local work is exactly once, by its transaction. */
export const runTwice: Patch = (s) =>
  s.local
    ? {}
    : {
        run: async (c) => {
          const first = await s.run(c);
          return Wait.is(first) ? first : s.run(c);
        },
      };

export const undoTwice: Patch = (s) =>
  s.local || !s.undo
    ? {}
    : {
        undo: async (c, out) => {
          const first = await s.undo!(c, out);
          return Wait.is(first) ? first : s.undo!(c, out);
        },
      };

/** Past the point of no return a step fails once; before it, always. */
export const failAt =
  (at: AnyStep, when: 'before' | 'after'): Patch =>
  (s) => {
    if (s.name !== at.name) return {};
    let failed = false;
    const boom = (out?: unknown): unknown => (s.forwardOnly && failed ? out : ((failed = true), injected()));
    const skips = (): boolean => s.forwardOnly && failed;
    if (s.local) {
      const after = (out: unknown): unknown => (Wait.is(out) ? out : boom(out));
      return { run: (c) => (when === 'before' && !skips() ? boom() : when === 'before' ? s.run(c) : after(s.run(c))) };
    }
    return {
      run: async (c) => {
        if (when === 'before' && !skips()) boom();
        const out = await s.run(c);
        return when === 'before' || Wait.is(out) ? out : boom(out);
      },
    };
  };

/** Loses the call of a remote step or of its undo, or the answer. */
export const lossy = (def: AnyJobDef, f: Faults): AnyJobDef =>
  patch(def, (s) => {
    if (s.local) return {};
    const undo = s.undo;
    return {
      run: async (c) => mayLose(f, () => s.run(c)),
      undo: undo && (async (c, out) => mayLose(f, () => undo(c, out))),
    };
  });

async function mayLose<T>(f: Faults, fn: () => T): Promise<Awaited<T>> {
  if (f.random() < f.probability / 2) throw lost('the call');
  const out = await fn();
  if (f.random() < f.probability / 2) throw lost('the answer');
  return out;
}

const lost = (what: string): ClusterError =>
  new ClusterError('HOST_UNREACHABLE', `${what} was lost`, { phase: 'unknown' });

export function losing<T extends object>(api: T, f: Faults | undefined): T {
  if (!f) return api;
  return new Proxy(api, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name === 'volumeData') return losing(value as object, f);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        if (f.random() < f.probability / 4) return Promise.reject(lost('the call'));
        const out: unknown = value.apply(target, args);
        if (!(out instanceof Promise)) return out;
        return out.then((v: unknown) => (f.random() < f.probability / 4 ? Promise.reject(lost('the answer')) : v));
      };
    },
  });
}

/** The engine's own calls get lost too. */
export function hooked(deps: EngineDeps, f: Faults | undefined): EngineDeps {
  const cancel = deps.cancelOperation?.bind(deps);
  if (!f || !cancel) return deps;
  const hook: EngineDeps['cancelOperation'] = (hostId, op) => mayLose(f, () => cancel(hostId, op));
  return new Proxy(deps, {
    get(target, name) {
      if (name === 'cancelOperation') return hook;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** A small seeded generator (mulberry32). */
export function randomOf(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
