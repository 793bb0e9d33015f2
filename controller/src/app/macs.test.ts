import type { Vm } from '@berth/shared/model/vm.ts';
import { describe, expect, it } from 'vitest';
import type { Tables } from '../state/state.ts';
import { freeMac, givenMac, normaliseMac } from './macs.ts';

const taken = (isTaken: (mac: string) => boolean): Tables =>
  ({ vms: { byMac: (mac: string) => (isTaken(mac) ? ({ name: 'web' } as Vm) : undefined) } }) as unknown as Tables;

describe('MAC addresses', () => {
  it('are read in the usual spellings and kept in one', () => {
    expect(normaliseMac(' 52-54-00-AA-bb-01 ')).toBe('52:54:00:aa:bb:01');
  });

  it('are refused when they are none, multicast or zero', () => {
    for (const bad of [
      '',
      '52:54:00:aa:bb',
      '52:54:00:aa:bb:zz',
      '01:00:5e:00:00:01',
      'ff:ff:ff:ff:ff:ff',
      '00:00:00:00:00:00',
    ])
      expect(() => normaliseMac(bad)).toThrow(/MAC address|multicast|network card/);
  });

  it('that a VM has already are refused, naming it', () => {
    expect(() =>
      givenMac(
        taken(() => true),
        '52:54:00:00:00:01',
      ),
    ).toThrow('taken by vm web');
  });

  it('from the pool are free, also when nearly all are taken', () => {
    const random = { next: () => 0.5 };
    expect(
      freeMac(
        taken(() => false),
        random,
      ),
    ).toBe('52:54:00:80:00:00');
    expect(
      freeMac(
        taken((m) => m !== '52:54:00:80:01:00'),
        random,
      ),
    ).toBe('52:54:00:80:01:00');
    expect(() =>
      freeMac(
        taken(() => true),
        random,
      ),
    ).toThrow('--mac');
  });
});
