/** berth vm show. */
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { alarmLines } from '../alarm/alarm.ts';
import { OUTPUT, type Command } from '../core/command.ts';
import { percent } from '../core/words.ts';
import { fields, renderEach } from '../output/render.ts';
import { agentWord, guestFields } from './guest-view.ts';
import { vmView, type VmView } from './view.ts';

export const vmShow: Command = {
  noun: 'vm',
  verb: 'show',
  summary: 'show VMs in full',
  args: [{ name: 'vms', description: 'VMs to show', required: true, many: true, kind: 'vm' }],
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names,
      get: async (vm) => vmView(await api.call(api.vms, (c) => c.getVm, { vm })),
      name: (v) => v.name,
      lines: async (v) => [...lines(v, ctx.clock.now()), ...(await alarmLines(api, 'vm', v.name, ctx.clock.now()))],
    });
  },
};

const lines = (v: VmView, nowMs: number): string[] =>
  fields([
    ['name', v.name],
    ['id', v.id],
    ['uuid', v.uuid],
    ['state', v.stateReason ? `${v.state} (${v.stateReason})` : v.state],
    ['host', v.host],
    ['vcpus', String(v.spec?.vcpus ?? '')],
    ['memory', formatBytes(Number(v.spec?.memoryBytes ?? 0n))],
    ['cpu used', v.state === 'running' ? percent(v.cpuUsed) : ''],
    ...(v.spec?.disks ?? []).map((d): [string, string] => [
      `disk ${d.target}`,
      `${formatBytes(Number(d.sizeBytes))}${d.image ? `, overlay on image ${d.image}` : ''} (${d.volumeId})`,
    ]),
    ...(v.spec?.nics ?? []).map((n, i): [string, string] => [
      `nic ${i}`,
      `${n.mac} on ${n.bridge} (${n.model})${n.address ? `, ${n.address}` : ''}${n.gateway ? ` via ${n.gateway}` : ''}`,
    ]),
    [
      'labels',
      Object.entries(v.spec?.labels ?? {})
        .map(([k, x]) => `${k}=${x}`)
        .join(' '),
    ],
    ['run policy', v.spec?.runPolicy ?? ''],
    ...(v.guest ? guestFields({ ...v.guest, agent: agentWord(v.guest.agent) }, nowMs) : []),
    ['age', formatAge(nowMs - Number(v.createdAtMs))],
    ['job', v.jobId],
  ]);
