/** berth host tune: settings of hosts' kernels, shown and kept. */
import type { HostTuning } from '@berth/proto/v1/machine.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { checkSettingName, checkTuning } from '@berth/shared/tuning/check.ts';
import { list, OUTPUT, text, type Command, type Flags } from '../core/command.ts';
import { runMany } from '../job/many.ts';
import { format, renderEach, roomOf } from '../output/render.ts';
import { tableLines, type Column } from '../output/table.ts';

type Setting = HostTuning['settings'][number];

const SET = [
  { spec: '--ksm <state>', description: 'merge equal pages of guests', choices: ['on', 'off'] },
  { spec: '--thp <when>', description: 'transparent large pages', choices: ['always', 'madvise', 'never'] },
  { spec: '--swappiness <number>', description: '0 to 200: how soon guests are swapped out' },
  { spec: '--hugepages <size=count>', description: 'large pages kept for VMs that ask for them: 2MiB=512', many: true },
  { spec: '--io-scheduler <disk=name>', description: 'of the I/O of a disk: sda=none', many: true },
  { spec: '--forget <setting>', description: 'leave this setting to the host from now on, as it is', many: true },
];

export const hostTune: Command = {
  noun: 'host',
  verb: 'tune',
  summary: "show settings of hosts' kernels (KSM, large pages, swapping, I/O schedulers), or set them",
  details: `Without a setting, shows how they stand. What is set here is kept: it is set again after a reboot of the host. Large pages are
taken from the memory that other VMs can have. Examples:
  berth host tune h1
  berth host tune h1 h2 --ksm on --thp madvise
  berth host tune h1 --hugepages 2MiB=512 --io-scheduler sda=none
  berth host tune h1 --forget ksm`,
  args: [{ name: 'hosts', description: 'hosts to look at or to tune', required: true, many: true, kind: 'host' }],
  flags: [...SET, OUTPUT],
  async run(ctx, names, flags) {
    const change = changeOf(flags);
    const changes = Object.keys(change.set).length + change.forget.length > 0;
    if (changes && text(flags, 'output') !== undefined)
      throw invalidArgument('-o shows settings: leave it out to set them');
    if (changes) return runMany(ctx, tuning(names, change));
    const api = await ctx.api();
    const wide = format(flags) === 'wide';
    await renderEach(ctx, flags, {
      names,
      get: (host) => api.call(api.hosts, (c) => c.readHostTuning, { host }),
      name: (t) => t.host,
      lines: (t) => [...(names.length > 1 ? [`${t.host}:`] : []), ...tuningLines(t, wide, roomOf(ctx, wide))],
    });
  },
};

interface Change {
  readonly set: Record<string, string>;
  readonly forget: string[];
}

function tuning(names: readonly string[], change: Change): Parameters<typeof runMany>[1] {
  const pending = new Set<string>();
  const words = [
    ...Object.entries(change.set).map(([name, value]) => `${name} ${value}`),
    ...change.forget.map((name) => `${name} left to the host`),
  ].join(', ');
  return {
    noun: 'host',
    names,
    wait: true,
    start: async (api, host) => {
      const r = await api.call(api.hosts, (c) => c.tuneHost, { host, ...change });
      if (r.pending) pending.add(host);
      return { jobId: '' };
    },
    done: async (_, host) => (pending.has(host) ? `is being tuned still: berth host tune ${host}` : `tuned: ${words}`),
  };
}

function changeOf(flags: Flags): Change {
  const pairs = (flag: string, kind: string): [string, string][] =>
    list(flags, flag).map((pair) => {
      const cut = pair.lastIndexOf('=');
      if (cut < 1)
        throw invalidArgument(`${JSON.stringify(pair.slice(0, 80))} has no value: write it as ${EXAMPLES[kind]}`);
      return [`${kind}/${pair.slice(0, cut)}`, pair.slice(cut + 1)];
    });
  const simple = ['ksm', 'thp', 'swappiness'].flatMap((name): [string, string][] => {
    const value = text(flags, name);
    return value === undefined ? [] : [[name, value]];
  });
  const given = [...simple, ...pairs('hugepages', 'hugepages'), ...pairs('ioScheduler', 'io-scheduler')];
  const twice = given.find(([name], i) => given.findIndex(([other]) => other === name) !== i);
  if (twice) throw invalidArgument(`${twice[0]} is given twice`);
  return { set: { ...checkTuning(Object.fromEntries(given)) }, forget: list(flags, 'forget').map(checkSettingName) };
}

const EXAMPLES: Readonly<Record<string, string>> = { hugepages: '2MiB=512', 'io-scheduler': 'sda=none' };

/** @param room letters in a line */
export function tuningLines(t: HostTuning, wide: boolean, room = Infinity): string[] {
  const off = t.settings.filter(differs);
  const flags = off.map((s) => flagOf(s.name, s.wanted ?? '')).join(' ');
  return [
    ...tableLines(COLUMNS, t.settings, wide, room),
    ...(off.length > 0
      ? [`Not as wanted: ${off.map((s) => s.name).join(', ')}. Set it again: berth host tune ${t.host} ${flags}`]
      : []),
  ];
}

const differs = (s: Setting): boolean => s.wanted !== undefined && s.wanted !== s.value;

function flagOf(name: string, value: string): string {
  const [kind = '', what] = name.split('/');
  return what === undefined ? `--${kind} ${value}` : `--${kind} ${what}=${value}`;
}

const COLUMNS: readonly Column<Setting>[] = [
  { title: 'SETTING', cell: (s) => s.name },
  { title: 'NOW', cell: (s) => s.value },
  { title: 'WANTED', cell: (s) => (s.wanted === undefined ? '' : differs(s) ? `${s.wanted} !` : s.wanted) },
  { title: 'RECOMMENDED', cell: (s) => s.recommended, spare: 1 },
  { title: 'VALUES', cell: (s) => s.choices.join(' '), wide: true },
  { title: 'NOTE', cell: (s) => s.note, prose: true },
];
