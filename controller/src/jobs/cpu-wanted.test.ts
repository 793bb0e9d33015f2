import { describe, expect, it } from 'vitest';
import { lackingOf, type CpuBaseline } from '@berth/shared/model/cpu.ts';
import { beyondBaseline, cpuNeeded, cpuWanted } from './cpu-wanted.ts';

const baseline: CpuBaseline = {
  ...{ model: 'Westmere', vendor: 'Intel', asked: 'auto', setAtMs: 0 },
  features: [
    { name: 'avx', policy: 'require' },
    { name: 'vme', policy: 'disable' },
  ],
  all: ['lm', 'aes', 'avx'],
  models: ['qemu64', 'Westmere'],
};

describe('the CPU of a guest within a baseline', () => {
  it('is the baseline where its spec leaves it open', () => {
    const named = { cpu: { mode: 'custom', model: 'Westmere', features: baseline.features } };
    expect(cpuWanted(undefined, baseline)).toEqual(named);
    expect(cpuWanted({ cpu: { mode: 'host-model' } }, baseline)).toEqual(named);
    expect(cpuNeeded(undefined, baseline)).toEqual({ baseline });
  });

  it('keeps its topology and features, which go before those of the baseline', () => {
    const topology = { sockets: 1, cores: 2, threads: 1 };
    const features = [{ name: 'avx', policy: 'disable' as const }];
    expect(cpuWanted({ machine: 'pc', cpu: { topology, features } }, baseline)).toEqual({
      machine: 'pc',
      cpu: {
        ...{ topology, mode: 'custom', model: 'Westmere' },
        features: [
          { name: 'vme', policy: 'disable' },
          { name: 'avx', policy: 'disable' },
        ],
      },
    });
  });

  it.each([
    { mode: 'host-passthrough' as const },
    { mode: 'maximum' as const },
    { mode: 'custom' as const, model: 'qemu64' },
  ])('is what the spec says where it says $mode', (cpu) => {
    expect(cpuWanted({ cpu }, baseline)).toEqual({ cpu });
    expect(beyondBaseline(cpu, baseline)).toBeUndefined();
  });

  it('may not be a model, or have a feature, that the baseline lacks', () => {
    expect(beyondBaseline({ mode: 'custom', model: 'Haswell' }, baseline)).toMatch(/Haswell has more than .*Westmere/);
    expect(beyondBaseline({ features: [{ name: 'avx2' }, { name: 'aes' }] }, baseline)).toMatch(
      /^cpu.features avx2 is /,
    );
    expect(beyondBaseline({ features: [{ name: 'avx2', policy: 'disable' }] }, baseline)).toBeUndefined();
  });

  it('without one is what it was', () => {
    expect(cpuWanted(undefined, undefined)).toBeUndefined();
    expect(beyondBaseline({ mode: 'custom', model: 'Haswell' }, undefined)).toBeUndefined();
    expect([cpuNeeded(undefined, undefined), cpuNeeded({ mode: 'custom', model: 'X' }, undefined)]).toEqual([
      undefined,
      { model: 'X' },
    ]);
  });
});

it('what a host lacks is worked out once for all hosts and VMs that have the same', () => {
  let looks = 0;
  const host = {
    models: [],
    get all() {
      looks++;
      return ['lm'];
    },
  };
  for (let n = 0; n < 3; n++) expect(lackingOf(host, baseline)).toEqual(['aes', 'avx']);
  expect(looks).toBe(1);
  expect(lackingOf(host, { ...baseline, all: ['lm', 'aes'] })).toEqual(['aes']);
});
