/** The builder and its types: what must not compile is marked, and the type checker is the judge. */
import { expect, test } from 'vitest';
import type { HostId } from '@berth/shared/model/ids.ts';
import { defineJob, jobShapes, wait, type EngineDeps } from './define.ts';

interface Params {
  readonly vmId: string;
}
interface Deps extends EngineDeps {
  boot(hostId: HostId, opId: string): Promise<'running' | 'starting'>;
}

test('a job is a list of steps whose outputs are typed by step name', () => {
  const def = defineJob<Params, Deps>('vm.start', 2)
    .deadline(60_000)
    .local('place', {
      run: ({ params }) => (params.vmId === '' ? wait(10, 'no name') : { hostId: 'host-1' as HostId }),
      undo: ({ tx }, out) => tx.claims.delete(out?.hostId ?? ''),
      describe: (out) => out.hostId,
    })
    .remote('boot', {
      host: (c) => c.outs.place.hostId,
      async run({ deps, outs, opId }) {
        const state = await deps.boot(outs.place.hostId, opId);
        return state === 'running' ? { state } : wait(1000, 'guest is starting');
      },
      async undo() {},
      debts: () => [],
    })
    .pointOfNoReturn()
    .local('record', { run: ({ outs }) => void outs.boot.state })
    .build();
  expect(jobShapes([def])).toBe('vm.start v2: place(local) boot(remote) record(local,forward)\n');
});

test('the type checker refuses a later step and an asynchronous local step', () => {
  // @ts-expect-error a step may not read a later step
  defineJob<Params, Deps>('x', 1).remote('a', { run: async ({ outs }) => ({ v: outs.b }) });
  // @ts-expect-error a local step may not be async
  defineJob<Params, Deps>('x', 1).local('a', { run: async () => ({ v: 1 }) });
  // @ts-expect-error an undo of a local step may not be async
  defineJob<Params, Deps>('x', 1).local('a', { run: () => ({ v: 1 }), undo: async () => undefined });
  // @ts-expect-error a remote step has no transaction
  defineJob<Params, Deps>('x', 1).remote('a', { run: async ({ tx }) => ({ tx }) });
  expect(() => defineJob<Params, Deps>('x', 1).build()).toThrow('no steps');
});

test('a duplicate step, and an undo on a host without debts, are refused when the job is defined', () => {
  const one = defineJob<Params, Deps>('x', 1).local('a', { run: () => 1 });
  expect(() => one.local('a', { run: () => 2 })).toThrow('duplicate');
  expect(() => one.remote('b', { host: () => undefined, run: async () => 1, undo: async () => {} })).toThrow('debts');
});
