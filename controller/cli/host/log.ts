/** berth host log: what a host writes down. */
import type { HostLogEntry } from '@berth/proto/v1/hostlog.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import { count, OUTPUT, text, yes, type Command, type Flags } from '../core/command.ts';
import { print } from '../core/context.ts';
import { time } from '../core/words.ts';
import { forPeople, renderNext } from '../output/render.ts';

/** More than fits a terminal, less than one would not want to wait for. */
const SHOWN = 200;
const MOST = 100_000;

export const hostLog: Command = {
  noun: 'host',
  verb: 'log',
  summary: 'show what a host writes down: its agent, libvirt, the kernel, QEMU of a VM',
  details: [
    'Times are shown in your zone. Where systemd runs, the logs are those of its journal; elsewhere the agent tells its last lines',
    'since it was started. Logs may hold what guests and other VMs are called: it takes the role operator on the host.',
    '',
    '  berth host log h1 --source libvirt --since 10m',
    '  berth host log h1 --vm web -f',
  ].join('\n'),
  args: [{ name: 'host', description: 'the host', required: true, kind: 'host' }],
  flags: [
    OUTPUT,
    { spec: '--source <log>', description: 'which log (agent)', choices: ['agent', 'libvirt', 'kernel', 'qemu'] },
    { spec: '--vm <vm>', description: 'the log of the QEMU of this VM', kind: 'vm' },
    { spec: '--since <time>', description: 'only what is not older: 10m, 2h' },
    { spec: '--tail <n>', description: `only so many lines (${SHOWN}; all with --since)` },
    { spec: '-f, --follow', description: 'go on as more comes' },
  ],
  async run(ctx, [host = ''], flags) {
    const api = await ctx.api();
    const request = { host, ...wanted(flags, ctx.clock.now()) };
    const people = forPeople(flags);
    for await (const l of api.stream(api.hostLogs, (c) => c.readHostLog, request, ctx.signal)) {
      if (people) print(ctx, line(l));
      else renderNext(ctx, flags, { row: l, name: l.text });
    }
  },
};

const wanted = (flags: Flags, nowMs: number) => {
  const since = text(flags, 'since');
  const sinceMs = since === undefined ? 0 : Math.max(1, nowMs - parseDuration(since));
  return {
    source: text(flags, 'source') ?? '',
    vm: text(flags, 'vm') ?? '',
    sinceMs: BigInt(sinceMs),
    tailLines: count(flags, 'tail', since === undefined ? SHOWN : MOST),
    follow: yes(flags, 'follow'),
  };
};

const line = (l: HostLogEntry): string => `${l.atMs === 0n ? ' '.repeat(19) : time(l.atMs)}  ${l.text}`;
