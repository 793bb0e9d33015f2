/** berth vm clone with a table, a range or --atomic: many VMs in one request, checked as a whole, then made by one job. */
import type { CloneVmsRequest } from '@berth/proto/v1/batch.ts';
import { BatchRow, type BatchVm, type CloneVmsResponse } from '@berth/proto/v1/batch.ts';
import type { CloneVmRequest } from '@berth/proto/v1/vm.ts';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { isReason } from '@berth/shared/errors/reasons.ts';
import type { Api } from '../core/api.ts';
import { text, yes, type Flag, type Flags } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { exitCode } from '../core/exit.ts';
import { readStandardInput, readText } from '../core/files.ts';
import { renderTable } from '../output/render.ts';
import type { Column } from '../output/table.ts';
import { followRows } from '../job/rows.ts';
import { warnOfUserData } from './user-data.ts';
import { cloneSource, type Look } from './clone-images.ts';

export const BATCH_FLAGS: readonly Flag[] = [
  {
    spec: '--from <file>',
    description: 'make the VMs of this table, a CSV file with a line for each (- is standard input)',
    kind: 'file',
  },
  {
    spec: '--ip-range <range>',
    description: 'each gets a free address of it: 10.0.0.10-10.0.0.40/24, 10.0.0.10-40/24, 2001:db8::/64',
  },
  { spec: '--atomic', description: 'all of them or none: when one fails, none is left' },
];

export const BATCH_DETAILS = `
Many at once are checked as a whole before the first is made: names, addresses, MAC
addresses, ports, and room for all of them together. A table says what is each one's own:

  # columns in any order; only name is needed
  name,host,ip,gateway,dns,mac,vnc-port,memory,vcpus,ssh-key,user-data
  web-01,h1,10.0.0.11/24,10.0.0.1,10.0.0.1,,5901,2GiB,2,~/.ssh/id_ed25519.pub,
  web-02,zone=b,10.0.0.12/24,10.0.0.1,10.0.0.1,52:54:00:00:00:02,,,,,web.yaml

A host is a name, or labels that its host must have (zone=b). Files are looked for beside
the table. Cells that are empty are as the flags say. The same command again makes what is
missing, and leaves alone what is there.`;

/** What one VM alone has: with several, a table says it. */
const ONES_OWN = { ip: '--ip', mac: '--mac' } as const;

/** Whether these are made in one request. */
export const isBatch = (names: readonly string[], flags: Flags): boolean =>
  ['from', 'ipRange'].some((f) => text(flags, f) !== undefined) ||
  yes(flags, 'atomic') ||
  (text(flags, 'vncPort') !== undefined && (names.length > 1 || text(flags, 'vncPort')?.endsWith('+') === true));

export interface CloneMany {
  /** An image or a VM. */
  readonly said: string;
  readonly names: readonly string[];
  readonly flags: Flags;
  /** What holds for all. */
  requestOf(image: string, flags: Flags): CloneVmRequest;
}

export async function cloneMany(ctx: Context, o: CloneMany): Promise<void> {
  const { flags } = o;
  const all = await manyOf(ctx, o);
  warnOfUserData(ctx, [all.all?.userData ?? '', ...all.rows.flatMap((r) => r.userData ?? [])]);
  const { image, names } = await cloneSource(ctx, o.said, {
    names: all.rows.map((r) => r.name),
    ...{ flags, look: lookAt(ctx, all) },
  });
  if (image === undefined) return;
  const left = new Set(names);
  const wanted = { ...all, all: all.all && { ...all.all, image }, rows: all.rows.filter((r) => left.has(r.name)) };
  const api = await ctx.api();
  if (yes(flags, 'dryRun')) return show(ctx, await ask(api, wanted));
  ctx.finishUnread();
  const startedMs = ctx.clock.monotonic();
  const made = await ask(api, wanted);
  for (const line of made.notes) note(ctx, line);
  if (flags['wait'] === false) return made.jobId === '' ? undefined : print(ctx, made.jobId);
  await followRows(ctx, api, { made, start: yes(flags, 'start'), atomic: wanted.atomic, startedMs });
}

/** At clones of a VM that is not captured yet. */
export function lookAt(ctx: Context, all: CloneVmsRequest): Look {
  return async (of, left) => {
    const rows = all.rows.filter((r) => left.includes(r.name));
    const seen = await ask(await ctx.api(), { ...all, ...of, rows });
    if (!all.dryRun) return true;
    show(ctx, seen);
    return undefined;
  };
}

const ask = (api: Api, wanted: CloneVmsRequest): Promise<CloneVmsResponse> =>
  api.call(api.batches, (c) => c.cloneVms, wanted);

/** What is each one's own is no part of what holds for all. */
const shared = (flags: Flags): Flags => ({ ...flags, vncPort: undefined });

/** Read and looked at before anything is captured. */
async function manyOf(ctx: Context, { said, names, flags, requestOf }: CloneMany): Promise<CloneVmsRequest> {
  const from = text(flags, 'from');
  if (from !== undefined && names.length > 0)
    throw invalidArgument('--from says which VMs: give either names or a table');
  for (const [flag, spec] of Object.entries(ONES_OWN))
    if (text(flags, flag) !== undefined)
      throw invalidArgument(`${spec} belongs to one VM; with many, a table says it (--from)`);
  if (from === undefined && names.length === 0)
    throw invalidArgument('what shall they be called? Give names, or a table with --from FILE');
  const rows = from === undefined ? names.map((name) => BatchRow.fromPartial({ name })) : await table(ctx, from);
  const first = firstPort(text(flags, 'vncPort'), rows.length);
  return {
    all: requestOf(said, shared(flags)),
    // counted here: those that are there already may be left out of what is asked, and the others keep their ports
    rows: rows.map((r, at) => ({ ...r, vncPort: r.vncPort || (first > 0 ? first + at : 0) })),
    dryRun: yes(flags, 'dryRun'),
    atomic: yes(flags, 'atomic'),
    addressRange: text(flags, 'ipRange') ?? '',
    ...{ firstVncPort: 0, vm: '', snapshot: '' },
  };
}

async function table(ctx: Context, from: string): Promise<readonly BatchRow[]> {
  const content = from === '-' ? await readStandardInput(ctx.stdin) : readText(from);
  const { readTable } = await import('./clone-table.ts');
  return readTable(content, from).rows;
}

/** `5900+`: this one, and the next for the next. */
function firstPort(port: string | undefined, rows: number): number {
  if (port === undefined) return 0;
  const [, first, more] = /^(\d{1,5})(\+?)$/.exec(port) ?? [];
  if (first === undefined || Number(first) < 5900 || Number(first) > 65_535)
    throw invalidArgument(`--vnc-port ${port} is no port from 5900 to 65535`);
  if (more === '' && rows > 1)
    throw invalidArgument(`--vnc-port ${port} belongs to one VM; with many write ${port}+, and each gets the next`);
  return Number(first);
}

/** Of a dry run: where each would go, then all that stands in the way. */
function show(ctx: Context, { vms, conflicts, notes }: CloneVmsResponse): void {
  const columns: Column<BatchVm>[] = [
    { title: 'NAME', cell: (v) => v.name },
    { title: 'HOST', cell: (v) => v.host },
    { title: 'ADDRESS', cell: (v) => v.address },
    { title: 'MAC', cell: (v) => v.mac, spare: 2 },
    ...(vms.some((v) => v.vncPort > 0)
      ? [{ title: 'VNC', cell: (v: BatchVm) => (v.vncPort > 0 ? String(v.vncPort) : ''), right: true, spare: 1 }]
      : []),
    ...(vms.some((v) => v.thereAlready)
      ? [{ title: 'NOTE', cell: (v: BatchVm) => (v.thereAlready ? 'is there already' : ''), prose: true }]
      : []),
  ];
  renderTable(ctx, columns, vms);
  for (const line of notes) note(ctx, line);
  const there = vms.filter((v) => v.thereAlready).length;
  const rest = there > 0 ? `; ${there} ${there === 1 ? 'is' : 'are'} there already` : '';
  if (conflicts.length === 0) return note(ctx, `${vms.length - there} of ${vms.length} would be made${rest}.`);
  for (const c of conflicts) {
    const at = c.row === 0 ? '' : `${c.line > 0 ? `line ${c.line}` : `row ${c.row}`} (${c.name}): `;
    note(ctx, `${at}${c.message}`);
  }
  note(
    ctx,
    `Nothing would be made: ${conflicts.length} ${conflicts.length === 1 ? 'thing stands' : 'things stand'} in the way.`,
  );
  ctx.fail(Math.max(...conflicts.map((c) => exitOf(c.reason))));
}

const exitOf = (reason: string): number => exitCode(new ClusterError(isReason(reason) ? reason : 'INTERNAL', ''));
