/** When a seed is taken out again: not before the guest has had it. */
import { expect, it } from 'vitest';
import type { Vm, VmObserved } from '@berth/shared/model/vm.ts';
import { seedTaken } from './seed-taken.ts';

const AT = 1_700_000_000_000;
const vm = (firstBootAtMs: number | undefined, seedVolumeId: string | undefined = 'volume-s') =>
  ({ firstBootAtMs, spec: { seedVolumeId } }) as unknown as Vm;
const seen = (power: string, reason: string) => ({ power, reason }) as unknown as VmObserved;

it.each([
  ['it was never started', vm(undefined), seen('stopped', 'shutdown'), AT, undefined],
  ['its plug was pulled at once', vm(AT), seen('stopped', 'destroyed'), AT + 5_000, undefined],
  ['it crashed at once', vm(AT), seen('crashed', 'crashed'), AT + 5_000, undefined],
  ['its host does not tell', vm(AT), undefined, AT + 5_000, undefined],
  ['it has shut down in order', vm(AT), seen('stopped', 'shutdown'), AT + 5_000, 'volume-s'],
  ['it was first started long ago', vm(AT), seen('stopped', 'destroyed'), AT + 600_000, 'volume-s'],
  ['it has none', { ...vm(AT), spec: {} } as Vm, seen('stopped', 'shutdown'), AT + 600_000, undefined],
] as const)('when %s', (_, of, observed, nowMs, expected) => {
  expect(seedTaken(of, observed, nowMs)).toBe(expected);
});
