/**
 * What it costs a host to be scraped: the agent beside Debian's prometheus-libvirt-exporter, thirty domains, the same fifteen seconds, the
 * same run. The agent does all its other work meanwhile (the controller watches, and gets its own statistics).
 */
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { unpackPackage } from '@berth/deploy/setup/unpacked.js';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { isShort, scrapeSeconds } from './config.ts';
import { withLabCluster, type LabCluster } from './lab-cluster.ts';
import { useOf, type Use } from './process-cost.ts';
import { mib, ms, remark, table, type Row, type Say } from './report.ts';

const DOMAINS = 30;
/** How often, for how long, and how long before that: code that runs for the first time costs more. */
const USUAL = { everyS: 15, forMs: 90_000, warmMs: 30_000 };
const SHORT = { everyS: 5, forMs: 30_000, warmMs: 8_000 };
const EXPORTER = '/opt/berth/.lab/tools/prometheus-libvirt-exporter/usr/bin/prometheus-libvirt-exporter';
const URLS = { agent: 'http://127.0.0.1:7446/metrics', exporter: 'http://127.0.0.1:9177/metrics' } as const;
type Who = keyof typeof URLS;

/** Fetches each of its arguments every so often, until it is killed; runs on the host, and is counted nowhere. */
const SCRAPER = `const [every, ...urls] = process.argv.slice(2);
const round = () => urls.forEach((u) => fetch(u).then((r) => r.text()).catch(() => undefined));
round(); setInterval(round, every * 1000);`;

export async function scrapeTopic(say: Say): Promise<void> {
  await unpackPackage('prometheus-libvirt-exporter');
  const agentConfig = 'metrics:\n  listen: 127.0.0.1:7446\n';
  await withLabCluster(
    ['h1'],
    async (l) => {
      const [host] = l.hosts;
      if (host === undefined) return;
      await domains(l, host);
      const usual = isShort() ? SHORT : USUAL;
      const everyS = scrapeSeconds(usual.everyS);
      // some scrapes have to fall into each look
      const pace = {
        everyS,
        forMs: Math.max(usual.forMs, 6_000 * everyS),
        warmMs: Math.max(usual.warmMs, 2_000 * everyS),
      };
      const exporter = await start(host, `${EXPORTER} --web.listen-address=127.0.0.1:9177`);
      const bare = await start(host, 'node -e "setInterval(() => undefined, 1000)"');
      const rows: Row[] = [];
      const all: Who[][] = [[], ['agent'], ['exporter'], ...(isShort() ? [] : [['agent', 'exporter'] as Who[]])];
      for (const scraped of all) rows.push(...(await measure(host, { exporter, bare }, scraped, pace)));
      table(
        say,
        `${DOMAINS} domains, scraped every ${pace.everyS} s`,
        ['', 'CPU per minute', 'of a core', 'RSS', 'PSS', 'its own'],
        rows,
      );
      table(
        say,
        'One scrape',
        ['', 'series', 'of them of VMs', 'bytes', 'median'],
        await Promise.all([...(['agent', 'exporter'] as const).map((who) => shown(host, who))]),
      );
      remark(
        say,
        `over ${pace.forMs / 1000} s each. "not scraped" is what the agent costs anyway: a controller watches it`,
      );
      remark(
        say,
        '"bare Node" does nothing: the floor of whatever runs on Node. "its own" is memory that goes when the process does; the rest, ' +
          "Node's code, is on disk and shared by all that run it",
      );
      remark(
        say,
        'Aim: what being scraped adds to the agent is less than the exporter, with more shown; libvirtd is beside both',
      );
    },
    { agentConfig },
  );
}

/** With a disk and a card each; paused, because thirty guests under emulation would leave nobody else a processor. */
async function domains(l: LabCluster, host: LabHost): Promise<void> {
  const names = Array.from({ length: DOMAINS }, (_, i) => `vm-${i + 1}`);
  await l.cluster.ok('vm', 'clone', 'base', ...names, '--memory', '96MiB');
  for (const name of names) await host.virsh(['start', name, '--paused']);
}

/** A process of the host that goes on. @returns its pid there. */
async function start(host: LabHost, command: string): Promise<number> {
  const pid = Number(await host.run(['sh', '-c', `${command} >/tmp/bench.log 2>&1 & echo $!`]));
  if (!(pid > 0)) throw new Error(`${command} did not start`);
  return pid;
}

async function measure(
  host: LabHost,
  { exporter, bare }: { readonly exporter: number; readonly bare: number },
  scraped: readonly Who[],
  { everyS, forMs, warmMs }: typeof USUAL,
): Promise<Row[]> {
  const urls = scraped.map((who) => URLS[who]);
  await host.writeFile('/tmp/scraper.cjs', SCRAPER);
  const scraper =
    urls.length === 0 ? undefined : await start(host, `node /tmp/scraper.cjs ${everyS} ${urls.join(' ')}`);
  await systemClock.sleep(warmMs);
  const read = (path: string): Promise<string> => host.readFile(path);
  const pids = [await host.agentPid(), exporter, await host.libvirtPid(), bare];
  const uses = await useOf(
    forMs,
    pids.map((pid) => ({ pid: pid ?? 0, read })),
  );
  if (scraper !== undefined) await host.run(['kill', String(scraper)]);
  const what =
    scraped.length === 0 ? 'not scraped' : scraped.length === 2 ? 'both scraped' : `only the ${scraped[0]} scraped`;
  const [agent, its, libvirtd, nothing] = uses as [Use, Use, Use, Use];
  return [
    [`agent, ${what}`, ...cells(agent)],
    ['  exporter', ...cells(its)],
    ['  libvirtd', ...cells(libvirtd)],
    ...(scraped.length === 0 ? [['  bare Node', ...cells(nothing)]] : []),
  ];
}

const cells = (u: Use): Row => [
  `${((u.cpuMs * 60_000) / u.forMs).toFixed(0)} ms`,
  `${u.cpuPercent.toFixed(2)} %`,
  mib(u.rssBytes),
  mib(u.pssBytes),
  mib(u.ownBytes),
];

async function shown(host: LabHost, who: Who): Promise<Row> {
  const script = `(async () => { let text = ''; const took = [];
    for (let i = 0; i < 9; i++) { const t = performance.now(); text = await (await fetch('${URLS[who]}')).text();
      took.push(performance.now() - t); await new Promise((r) => setTimeout(r, 1100)); }
    took.sort((a, b) => a - b); console.log(JSON.stringify([text.length, took[4], text])) })()`;
  const [bytes, took, text] = JSON.parse(await host.run(['node', '-e', script])) as [number, number, string];
  const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const ofVms = series.filter((line) => /^(berth_vm|libvirt_domain)_/.test(line));
  return [who, series.length, ofVms.length, bytes, ms(took)];
}
