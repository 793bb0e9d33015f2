/** berth host show. */
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { alarmLines } from '../alarm/alarm.ts';
import { OUTPUT, type Command } from '../core/command.ts';
import { percent } from '../core/words.ts';
import { fields, format, renderEach } from '../output/render.ts';
import { checkLines } from './check.ts';
import { hostDocument } from './document.ts';
import { hardwareOf } from './hardware.ts';
import { hostView, type HostView } from './view.ts';

export const hostShow: Command = {
  noun: 'host',
  verb: 'show',
  summary: 'show hosts in full, with their checks',
  args: [{ name: 'hosts', description: 'hosts to show', required: true, many: true, kind: 'host' }],
  details: 'With -o wide also with their hardware, as berth host hardware shows it.',
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names,
      get: async (host) => hostView(await api.call(api.hosts, (c) => c.getHost, { host })),
      name: (h) => h.name,
      document: hostDocument,
      lines: async (h) => [
        ...lines(h, ctx.clock.now()),
        ...checks(h),
        ...(await alarmLines(api, 'host', h.name, ctx.clock.now())),
        ...(format(flags) === 'wide' ? ['', ...(await hardwareOf(api, h.name))] : []),
      ],
    });
  },
};

const size = (n: bigint | undefined): string => formatBytes(Number(n ?? 0n));

function lines(h: HostView, nowMs: number): string[] {
  const { capacity: c, facts: f } = h;
  const known = f && f.cpuThreads > 0;
  return fields([
    ['name', h.name],
    ['id', h.id],
    ['address', h.address],
    [
      'state',
      `${h.state} for ${formatAge(nowMs - Number(h.stateSinceMs))}${h.stateReason ? ` (${h.stateReason})` : ''}`,
    ],
    ['last seen', h.lastSeenAtMs > 0n ? `${formatAge(nowMs - Number(h.lastSeenAtMs))} ago` : 'never'],
    ['system', known ? `${f.os}, kernel ${f.kernel}, ${f.hostname}` : ''],
    [
      'cpu',
      known
        ? `${f.cpuThreads} × ${f.cpuModel}, ${percent(c?.cpuUsed ?? 0)} used, load ${(c?.load1 ?? 0).toFixed(2)}`
        : '',
    ],
    ['memory', c?.memoryBytes ? memory(c) : ''],
    [
      'disk',
      c?.diskBytes
        ? `${size(c.diskBytes)}, ${size(c.diskFreeBytes)} free, ${size(c.diskClaimedBytes)} promised to VMs`
        : '',
    ],
    ['versions', known ? `libvirt ${f.libvirtVersion}, QEMU ${f.qemuVersion}, agent ${f.agentVersion}` : ''],
    ['domain type', known ? f.domainType : ''],
    ['vms', `${h.vmCount}, ${h.runningVmCount} running`],
    ['foreign', foreign(h)],
    [
      'labels',
      Object.entries(h.labels)
        .map(([k, v]) => `${k}=${v}`)
        .join(' '),
    ],
    ...h.bridges.map((b): [string, string] => [
      `bridge ${b.name}`,
      [b.up ? 'up' : 'down', ...b.addresses, b.ports.length ? `ports ${b.ports.join(' ')}` : '']
        .filter(Boolean)
        .join(', '),
    ]),
    ...h.cleanupDebts.map((d): [string, string] => ['to remove', d]),
  ]);
}

function memory(c: NonNullable<HostView['capacity']>): string {
  const large = c.memoryLargePagesBytes > 0n ? `; ${size(c.memoryLargePagesBytes)} in large pages` : '';
  const promised = `${size(c.memoryAvailableBytes)} for VMs, ${size(c.memoryClaimedBytes)} of it promised`;
  return `${size(c.memoryBytes)}, ${size(c.memoryUsedBytes)} used; ${promised}${large}`;
}

/** Domains that are not Berth's, and what they take. */
const foreign = (h: HostView): string =>
  h.foreignCount > 0
    ? `${h.foreignCount} domains of others, ${h.runningForeignCount} running (${size(h.capacity?.memoryForeignBytes)})`
    : '';

const checks = ({ checks: all }: HostView): string[] => (all.length === 0 ? [] : ['checks:', ...checkLines(all)]);
