import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { driftOf, hugePagesOf, pageBytesOf } from '../model/tuning.ts';
import { checkSettingName, checkTuning, hugePagesName } from './check.ts';

const MIB = 2 ** 20;

describe('settings of a host', () => {
  it('are written in one spelling', () => {
    expect(
      checkTuning({ ksm: 'on', thp: 'never', swappiness: '010', 'hugepages/2M': '512', 'io-scheduler/sda': 'none' }),
    ).toEqual({ ksm: 'on', thp: 'never', swappiness: '10', 'hugepages/2MiB': '512', 'io-scheduler/sda': 'none' });
    expect(checkSettingName('hugepages/1024MiB')).toBe('hugepages/1GiB');
  });

  it.each([
    [{ ksm: 'yes' }, /ksm cannot be "yes": it takes one of on, off/],
    [{ thp: '' }, /one of always, madvise, never/],
    [{ swappiness: '201' }, /from 0 to 200/],
    [{ swappiness: '-1' }, /from 0 to 200/],
    [{ 'hugepages/2MiB': '1e3' }, /a whole number/],
    [{ 'hugepages/3MiB': '1' }, /not the size of a large page/],
    [{ 'hugepages/4KiB': '1' }, /not the size of a large page/],
    [{ 'hugepages/x': '1' }, /not a size/],
    [{ 'io-scheduler/../x': 'none' }, /is no setting of a host/],
    [{ 'io-scheduler/..': 'none' }, /is no setting of a host/],
    [{ 'io-scheduler/sda': 'none; reboot' }, /a scheduler of sda/],
    [{ 'ksm/x': 'on' }, /is no setting of a host: known are ksm, thp/],
    [{ '': 'on' }, /is no setting/],
    [{ constructor: 'on' }, /is no setting/],
    [{ 'hugepages/2M': '1', 'hugepages/2MiB': '2' }, /hugepages\/2MiB is given twice/],
  ])('refuse %j', (given, words) => {
    expect(() => checkTuning(given as unknown as Record<string, string>)).toThrow(words);
  });

  it('of whatever text are refused, or are as they will always be', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (name, value) => {
        let checked: Record<string, string>;
        try {
          checked = checkTuning({ [name]: value });
        } catch (e) {
          expect((e as Error).message).not.toMatch(/^BUG/);
          return;
        }
        expect(checkTuning(checked)).toEqual(checked);
      }),
    );
  });

  it('say how much memory they take, by the size of pages', () => {
    expect(hugePagesOf(undefined).size).toBe(0);
    expect([...hugePagesOf({ ksm: 'on', 'hugepages/2MiB': '3', 'hugepages/1GiB': '2' })]).toEqual([
      [2 * MIB, 6 * MIB],
      [1024 * MIB, 2048 * MIB],
    ]);
    expect(pageBytesOf(hugePagesName(2 * MIB))).toBe(2 * MIB);
    expect(pageBytesOf('ksm')).toBeUndefined();
  });

  it('drift where the host has another value, or none', () => {
    const seen = [{ name: 'ksm', value: 'off', choices: [], recommended: '', note: '' }];
    expect(driftOf({ ksm: 'on', 'io-scheduler/sda': 'none' }, seen)).toEqual({ ksm: 'on', 'io-scheduler/sda': 'none' });
    expect(driftOf({ ksm: 'off' }, seen)).toEqual({});
    expect(driftOf(undefined, seen)).toEqual({});
  });
});
