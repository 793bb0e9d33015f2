/** The topics of `npm run bench`. Each prints its tables, with the raw tool beside Berth; nothing here passes or fails. */
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { agentTopic } from './agent.ts';
import { cliTopic } from './cli.ts';
import { controllerTopic } from './controller.ts';
import { fanoutTopic } from './fanout.ts';
import { httpTopic } from './http.ts';
import { instantTopic } from './instant.ts';
import { WORKER_FILE } from './programs.ts';
import { mib, ms, perSecond, remark, table, type Say } from './report.ts';
import { scrapeTopic } from './scrape.ts';
import { measurePlacements } from './scheduler.ts';
import { measureLoad, measureUpdates } from './state.ts';
import { vmTopic } from './vm.ts';

const TOPICS: Readonly<Record<string, (say: Say) => Promise<void>>> = {
  state: stateTopic,
  scheduler: schedulerTopic,
  cli: cliTopic,
  controller: controllerTopic,
  http: httpTopic,
  vm: vmTopic,
  agent: agentTopic,
  scrape: scrapeTopic,
  instant: instantTopic,
  fanout: fanoutTopic,
};

export async function bench(topic: string, say: Say): Promise<void> {
  const run = TOPICS[topic];
  if (run === undefined) throw new Error(`no topic ${topic}`);
  await run(say);
}

async function stateTopic(say: Say): Promise<void> {
  const r = await measureUpdates(WORKER_FILE);
  table(
    say,
    'State: durable updates, synchronous=FULL',
    ['', 'per second'],
    [
      ['better-sqlite3 alone, one upsert each', perSecond(r.rawSqlitePerSecond)],
      ['one at a time', perSecond(r.oneAtATimePerSecond)],
      ['100 in flight', perSecond(r.hundredInFlightPerSecond)],
    ],
  );
  const l = await measureLoad(WORKER_FILE);
  table(
    say,
    `State: loading ${l.hosts} hosts and ${l.vms} VMs`,
    ['', ''],
    [
      ['database', mib(l.fileBytes)],
      ['load', ms(l.loadMs)],
      ['heap', mib(l.heapBytes)],
      ['first page of 100 names', ms(l.firstPageOfNamesMs)],
    ],
  );
  remark(say, 'in this process; the controller topic starts a real one');
}

async function schedulerTopic(say: Say): Promise<void> {
  const rates = [
    [3, 60],
    [100, 2_000],
    [1_000, 5_000],
    [3_000, 5_000],
  ].map(([hosts = 0, vms = 0]) => measurePlacements(systemClock, hosts, vms));
  const rows = rates.map((r) => [r.hosts, r.placed, perSecond(r.perSecond), ms(1000 / r.perSecond)]);
  table(say, 'Scheduler: VMs placed one after another', ['hosts', 'placed', 'rate', 'each'], rows);
}
