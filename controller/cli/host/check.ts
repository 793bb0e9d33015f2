/** berth host check: what hosts lack for VMs, looked at anew. */
import type { CheckHostResponse } from '@berth/proto/v1/machine.ts';
import type { Api } from '../core/api.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { OUTPUT, yes, type Command } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { errorLine, EXIT } from '../core/exit.ts';
import { allPages } from '../core/pages.ts';
import { forPeople, renderEach, renderList } from '../output/render.ts';

type Check = CheckHostResponse['checks'][number];
interface Checked extends CheckHostResponse {
  /** Why the host could not be asked; empty when it was. */
  readonly error: string;
}

/** Hosts that are asked at the same time. */
const AT_ONCE = 16;

export const hostCheck: Command = {
  noun: 'host',
  verb: 'check',
  summary: 'look anew whether hosts have what VMs need, and say what is missing',
  details: `✔ is well, ! is worth mending, ✘ keeps VMs from running there (then the exit code is 1). The same lines as berth-agent check
on the host itself; the clock is compared with the controller's.`,
  args: [
    { name: 'hosts', description: 'hosts to check; all when none is named', required: false, many: true, kind: 'host' },
  ],
  flags: [{ spec: '--all', description: 'all hosts' }, OUTPUT],
  async run(ctx, names, flags) {
    if (names.length > 0 && yes(flags, 'all')) throw invalidArgument('name hosts, or say --all, not both');
    const api = await ctx.api();
    const hosts = names.length > 0 ? names : await allHosts(api);
    const all = await inTurns(hosts, (host) => checkOne(api, host, hosts.length === 1));
    const name = (r: Checked) => r.host;
    if (forPeople(flags)) say(ctx, all);
    else if (names.length === 1)
      await renderEach(ctx, flags, { names, get: async () => all[0] as Checked, name, lines: () => [] });
    else renderList(ctx, flags, { rows: all, columns: [], name, empty: NO_HOSTS });
    if (all.some((r) => r.error !== '' || r.checks.some(isFatal))) ctx.fail(EXIT.failed);
  },
};

const NO_HOSTS = 'no hosts to check';
const isFatal = (c: Check): boolean => !c.ok && c.fatal;

/** That have ever been there. */
async function allHosts(api: Api): Promise<string[]> {
  const hosts = await allPages(async (page) => {
    const r = await api.call(api.hosts, (c) => c.listHosts, { page });
    return { items: r.hosts, next: r.nextPageToken };
  });
  return hosts.filter((h) => h.lastSeenAtMs > 0n).map((h) => h.name);
}

/** One host alone: its error is the command's. */
async function checkOne(api: Api, host: string, alone: boolean): Promise<Checked> {
  try {
    return { ...(await api.call(api.hosts, (c) => c.checkHost, { host })), error: '' };
  } catch (e) {
    if (alone) throw e;
    return { host, checks: [], clockSkewMs: 0, error: errorLine(e) };
  }
}

async function inTurns<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i] as T);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker));
  return results;
}

function say(ctx: Context, all: readonly Checked[]): void {
  if (all.length === 0) note(ctx, NO_HOSTS);
  for (const [i, r] of all.entries()) {
    if (i > 0) print(ctx, '');
    print(ctx, `${r.host}: ${r.error || headline(r.checks)}`);
    checkLines(r.checks).forEach((line) => print(ctx, line));
  }
}

function headline(checks: readonly Check[]): string {
  const fatal = checks.filter(isFatal).length;
  const worth = checks.filter((c) => !c.ok && !c.fatal).length;
  if (fatal > 0) return `cannot run VMs: ${fatal} of ${checks.length} checks failed`;
  return worth > 0 ? `can run VMs; ${worth} of ${checks.length} checks are worth a look` : 'all is well';
}

/** As `berth-agent check` prints them. */
export function checkLines(checks: readonly Check[]): string[] {
  const width = Math.max(0, ...checks.map((k) => k.name.length));
  const mark = (k: Check) => (k.ok ? '✔' : k.fatal ? '✘' : '!');
  return checks.map((k) => `  ${mark(k)} ${k.name.padEnd(width)}  ${k.detail}`);
}
