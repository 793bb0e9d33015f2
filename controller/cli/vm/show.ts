/** berth vm show. */
import type { VmDisk, VmSpec } from '@berth/proto/v1/vm.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { alarmLines } from '../alarm/alarm.ts';
import { OUTPUT, type Command } from '../core/command.ts';
import { percent } from '../core/words.ts';
import { fillingWords } from './filling.ts';
import { agentWord, guestFields } from './guest-view.ts';
import { fields, renderEach } from '../output/render.ts';
import { vmDocument } from './document.ts';
import { snapshotWords } from './snapshot-words.ts';
import { vmView, type VmView } from './view.ts';

export const vmShow: Command = {
  noun: 'vm',
  verb: 'show',
  summary: 'show VMs in full',
  args: [{ name: 'vms', description: 'VMs to show', required: true, many: true, kind: 'vm' }],
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    const about = async (v: VmView): Promise<string[]> => lines(v, ctx.clock.now(), await snapshotWords(api, v));
    await renderEach(ctx, flags, {
      names,
      get: async (vm) => vmView(await api.call(api.vms, (c) => c.getVm, { vm })),
      name: (v) => v.name,
      document: vmDocument,
      lines: async (v) => [...(await about(v)), ...(await alarmLines(api, 'vm', v.name, ctx.clock.now()))],
    });
  },
};

const lines = (v: VmView, nowMs: number, snapshots: string): string[] =>
  fields([
    ['name', v.name],
    ['id', v.id],
    ['uuid', v.uuid],
    ['state', v.stateReason ? `${v.state} (${v.stateReason})` : v.state],
    ['host', v.host],
    ['vcpus', String(v.spec?.vcpus ?? '')],
    ['memory', formatBytes(Number(v.spec?.memoryBytes ?? 0n))],
    ['cpu used', v.state === 'running' ? percent(v.cpuUsed) : ''],
    ...(v.spec ? partLines(v.spec) : []),
    ...hardwareLines(v),
    ['snapshots', snapshots],
    ['run policy', v.spec?.runPolicy ?? ''],
    ...(v.guest ? guestFields({ ...v.guest, agent: agentWord(v.guest.agent) }, nowMs) : []),
    ['age', formatAge(nowMs - Number(v.createdAtMs))],
    ['job', v.jobId],
    ...v.pending.map((p, i): [string, string] => [
      i === 0 ? 'pending at next start' : ' '.repeat(i),
      `${p.field} ${p.before || '-'} → ${p.after || '-'}`,
    ]),
  ]);

const partLines = (spec: VmSpec): [string, string][] => [
  ...spec.disks.map((d): [string, string] => [`disk ${d.target}`, diskWords(d)]),
  ...spec.cdroms.map((c): [string, string] => [`cdrom ${c.target}`, `${c.image || 'empty'}, ${c.bus}`]),
  ...spec.nics.map((n, i): [string, string] => [
    `nic ${i}`,
    `${n.mac} on ${n.network ? `${n.network} (bridge ${n.bridge})` : n.bridge} (${n.model})${n.address ? `, ${n.address}` : ''}${n.gateway ? ` via ${n.gateway}` : ''}`,
  ]),
  [
    'labels',
    Object.entries(spec.labels)
      .map(([k, x]) => `${k}=${x}`)
      .join(' '),
  ],
];

/** Of the rest of its definition what most people look for; all of it is in -o yaml. */
const hardwareLines = ({ spec }: VmView): [string, string][] => {
  const h = spec?.hardware;
  const firmware = h?.firmware && `${h.firmware.type}${h.firmware.secureBoot ? ' with Secure Boot' : ''}`;
  return [
    ['made for', spec?.osVariant ?? ''],
    ['machine', [h?.machine, firmware, h?.tpm && `TPM ${h.tpm.version ?? '2.0'}`].filter(Boolean).join(', ')],
    ['boot', h?.boot?.order.join(', ') ?? ''],
    ...(h?.graphics ?? []).map((g): [string, string] => [
      `graphics ${g.type}`,
      `${g.listen === undefined ? (g.type === 'none' ? 'none' : 'through the controller') : `on ${g.listen}${g.port ? ` port ${g.port}` : ''}`}${g.passwordSet ? ', with a password' : ''}`,
    ]),
  ];
};

const diskWords = (d: VmDisk): string =>
  [
    formatBytes(Number(d.sizeBytes)),
    d.image && `overlay on image ${d.image}`,
    d.pool && `in pool ${d.pool}`,
    d.copyOf && `copy of image ${d.copyOf}`,
    d.filling && fillingWords(d.filling, d.image),
    d.options?.bus,
  ]
    .filter(Boolean)
    .join(', ') + ` (${d.volumeId})`;
