import { expect, it } from 'vitest';
import { HostTuning } from '@berth/proto/v1/machine.ts';
import { tuningLines } from './tune.ts';

it('settings are shown with what is wanted and what suits, and how to set again what is not as wanted', () => {
  const t = HostTuning.fromPartial({
    host: 'h1',
    settings: [
      { name: 'ksm', value: 'off', wanted: 'on', choices: ['on', 'off'], recommended: 'off' },
      { name: 'hugepages/2MiB', value: '512', wanted: '512', note: '100 free' },
      { name: 'io-scheduler/sda', value: '', wanted: 'none', note: 'not there any more' },
      { name: 'thp', value: 'madvise', recommended: 'madvise' },
    ],
  });
  expect(tuningLines(t, false)).toEqual([
    'SETTING           NOW      WANTED  RECOMMENDED  NOTE',
    'ksm               off      on !    off          -',
    'hugepages/2MiB    512      512     -            100 free',
    'io-scheduler/sda  -        none !  -            not there any more',
    'thp               madvise  -       madvise      -',
    'Not as wanted: ksm, io-scheduler/sda. Set it again: berth host tune h1 --ksm on --io-scheduler sda=none',
  ]);
  expect(tuningLines(t, false, 48).slice(0, 5)).toMatchInlineSnapshot(`
    [
      "SETTING           NOW      WANTED  RECOMMENDED",
      "    NOTE",
      "ksm               off      on !    off",
      "hugepages/2MiB    512      512     -",
      "    100 free",
    ]
  `);
  expect(tuningLines({ ...t, settings: t.settings.slice(3) }, true).join()).toContain('VALUES');
});
