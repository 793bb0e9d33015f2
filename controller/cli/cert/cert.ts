/** berth cert list, revoke, rotate-ca. */
import type { Certificate } from '@berth/proto/v1/certificate.ts';
import { formatAge, parseDuration } from '@berth/shared/units/duration.ts';
import { OUTPUT, text, yes, type Command } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { time } from '../core/words.ts';
import { runMany } from '../job/many.ts';
import { remark, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';

/** `in 12 d`, `3 h ago`, `-`. */
const when = (ms: bigint, nowMs: number): string => {
  if (ms === 0n) return '-';
  const left = Number(ms) - nowMs;
  return left < 0 ? `${formatAge(-left)} ago` : `in ${formatAge(left)}`;
};

const columns = (nowMs: number): Column<Certificate>[] => [
  { title: 'SUBJECT', cell: (c) => c.subject },
  { title: 'PURPOSE', cell: (c) => c.purpose },
  { title: 'STATE', cell: (c) => c.state },
  { title: 'EXPIRES', cell: (c) => when(c.notAfterMs, nowMs) },
  { title: 'RENEWS', cell: (c) => when(c.renewsAtMs, nowMs), spare: 1 },
  { title: 'SERIAL', cell: (c) => c.serial },
  { title: 'VALID FROM', cell: (c) => time(c.notBeforeMs), wide: true },
  { title: 'VALID UNTIL', cell: (c) => time(c.notAfterMs), wide: true },
  { title: 'ISSUER', cell: (c) => c.issuerPin.slice(0, 16), wide: true },
  { title: 'FOR', cell: (c) => c.description || '-', wide: true },
];

const certList: Command = {
  noun: 'cert',
  verb: 'list',
  summary: 'list certificates: whose, what for, until when',
  details: `Purposes: control (a host's agent port), transfer (between hosts), controller, client (a command line; of others only for
administrators), and the two CAs.
Certificates renew themselves at the time under RENEWS; CAs are replaced then.`,
  args: [],
  flags: [OUTPUT, { spec: '--all', description: 'also those that were replaced and are still valid' }],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const request = { all: yes(flags, 'all') };
    const { certificates: rows } = await api.call(api.certificates, (c) => c.listCertificates, request);
    renderList(ctx, flags, {
      rows,
      columns: [...columns(ctx.clock.now()), ...remark(rows, (c) => c.reason)],
      name: (c) => c.serial,
      empty: 'no certificates',
    });
  },
};

const certRevoke: Command = {
  noun: 'cert',
  verb: 'revoke',
  summary: 'end certificates at once, also for connections that are open',
  details: `Names a certificate by its serial (or the beginning of one), or all those of a host by the host's name. A host whose
control certificate is revoked must be enrolled again: berth host re-enroll NAME. The controller gets a new one by itself.
With the client certificate of a command line end all that it was renewed from or to: that machine must log in again.`,
  args: [{ name: 'certificates', description: 'serials, or names of hosts', required: true, many: true }],
  flags: [],
  run: (ctx, names) =>
    runMany(ctx, {
      noun: 'certificate',
      names,
      wait: true,
      start: async (api, certificate) => {
        const { revoked } = await api.call(api.certificates, (c) => c.revokeCertificates, { certificate });
        for (const c of revoked)
          if (c.purpose === 'control')
            note(ctx, `${c.subject} must be enrolled again: berth host re-enroll ${c.subject}`);
        return { jobId: '' };
      },
      done: async () => 'revoked',
    }),
};

const certRotate: Command = {
  noun: 'cert',
  verb: 'rotate-ca',
  summary: 'replace both CAs, and every certificate with them',
  details: `Old and new are both trusted for a while: hosts learn of the new CAs, get new certificates, and the old CAs go. Command lines
learn with their next command; one that is not used during the overlap must log in again with a new login line.`,
  args: [],
  flags: [
    { spec: '--overlap <duration>', description: 'trust both for at least so long (default 1d)' },
    { spec: '--patience <duration>', description: 'wait so long for hosts that are away (default 7d)' },
    { spec: '--leave-behind', description: 'of the rotation that is under way: wait for nobody any longer' },
    { spec: '--wait', description: 'wait for its end' },
  ],
  async run(ctx, _args, flags) {
    const ms = (name: string) => BigInt(Math.max(1, parseDuration(text(flags, name) ?? '0')));
    const given = (name: string) => (text(flags, name) === undefined ? 0n : ms(name));
    const api = await ctx.api();
    const leaveBehind = yes(flags, 'leaveBehind');
    const request = { overlapMs: given('overlap'), patienceMs: given('patience'), leaveBehind };
    const start = async () => api.call(api.certificates, (c) => c.rotateCa, request);
    if (yes(flags, 'wait')) return follow(ctx, start);
    const { jobId } = await start();
    print(ctx, jobId);
    note(ctx, `The CAs are being replaced. Follow it with: berth job watch ${jobId}`);
  },
};

const follow = (ctx: Context, start: () => Promise<{ jobId: string }>): Promise<void> =>
  runMany(ctx, { noun: 'CA', names: ['rotation'], wait: true, start, done: async () => 'done' });

export const certCommands: readonly Command[] = [certList, certRevoke, certRotate];
