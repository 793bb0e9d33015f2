/**
 * A VM made and started through Berth, and twenty clones over three hosts, beside the same by hand on the same hosts.
 * Everything is real; the turns alternate, so that noise of the machine meets both.
 */
import { basePath, clonesByHand, oneByHand, prepareByHand, removeByHand } from './by-hand.ts';
import { jobDone, withLabCluster, type LabCluster } from './lab-cluster.ts';
import { median, ms, remark, repeat, SPREAD, spread, table, timed, type Say } from './report.ts';

const VMS = 12;
const CLONES = 20;
const ROUNDS = 5;
const SIZE = '2GiB';
const MEMORY = '128MiB';
const QEMU_SIZE = '2G';

export async function vmTopic(say: Say): Promise<void> {
  await withLabCluster(['h1', 'h2', 'h3'], async (l) => {
    const cold = await timed(() =>
      l.cluster.ok('vm', 'clone', 'base', 'cold', '--host', 'h2', '--memory', MEMORY, '--linked'),
    );
    await l.cluster.ok('vm', 'clone', 'base', 'warm1', '--host', 'h1', '--memory', MEMORY, '--disk-size', SIZE);
    await l.cluster.ok('vm', 'clone', 'base', 'warm3', '--host', 'h3', '--memory', MEMORY, '--linked');
    const xml = (await l.hosts[0]?.virsh(['dumpxml', '--inactive', 'warm1'])) ?? '';
    for (const host of l.hosts) await prepareByHand(host, xml);
    await createAndStart(l, say);
    await clones(l, say);
    remark(say, `the first clone on a host without the image, with the command line: ${ms(cold.ms)}, image fetched`);
  });
}

async function createAndStart({ cluster, api, hosts }: LabCluster, say: Say): Promise<void> {
  const [host] = hosts;
  if (host === undefined) return;
  const base = await basePath(host);
  const request = await import('@berth/proto/v1/vm.ts').then((m) => m.CloneVmRequest);
  const viaApi = async (name: string) => {
    const clone = await timed(async () => {
      const wanted = request.fromPartial({
        image: 'base',
        name,
        host: host.name,
        memoryBytes: 128n << 20n,
        diskSizeBytes: 2n << 30n,
      });
      await jobDone(api, (await api.call(api.vms, (c) => c.cloneVm, wanted)).jobId);
    });
    const start = await timed(async () =>
      jobDone(api, (await api.call(api.vms, (c) => c.startVm, { vm: name })).jobId),
    );
    await cluster.ok('vm', 'delete', '--force', name);
    return { clone: clone.ms, start: start.ms, both: clone.ms + start.ms };
  };
  const viaCli = async (name: string) => {
    const flags = ['--host', host.name, '--memory', MEMORY, '--disk-size', SIZE];
    const clone = await timed(() => cluster.ok('vm', 'clone', 'base', name, ...flags));
    const start = await timed(() => cluster.ok('vm', 'start', name));
    await cluster.ok('vm', 'delete', '--force', name);
    const atOnce = await timed(() => cluster.ok('vm', 'clone', 'base', name, ...flags, '--start'));
    await cluster.ok('vm', 'delete', '--force', name);
    return { clone: clone.ms, start: start.ms, both: clone.ms + start.ms, atOnce: atOnce.ms };
  };
  const rounds = await repeat(VMS, async (i) => ({
    hand: await oneByHand(host, `hand-${i}`, base, QEMU_SIZE),
    api: await viaApi(`api-${i}`),
    cli: await viaCli(`cli-${i}`),
  }));
  const hand = rounds.map((r) => r.hand.defineMs + r.hand.startMs);
  const handSeed = rounds.map((r) => r.hand.defineMs + r.hand.startMs + r.hand.seedMs);
  const [viaApiBoth, viaCliBoth] = [rounds.map((r) => r.api.both), rounds.map((r) => r.cli.both)];
  const viaCliAtOnce = rounds.map((r) => r.cli.atOnce);
  const more = (all: readonly number[], than: readonly number[]): string => ms(median(all) - median(than));
  table(
    say,
    'Create and start one VM on one host',
    ['', ...SPREAD, 'more', 'more than with seed'],
    [
      ['qemu-img, virsh define', ...spread(rounds.map((r) => r.hand.defineMs))],
      ['virsh start', ...spread(rounds.map((r) => r.hand.startMs))],
      ['by hand, both', ...spread(hand)],
      ['by hand, with a seed', ...spread(handSeed), more(handSeed, hand)],
      ['Berth API: clone', ...spread(rounds.map((r) => r.api.clone))],
      ['Berth API: start', ...spread(rounds.map((r) => r.api.start))],
      ['Berth API, both', ...spread(viaApiBoth), more(viaApiBoth, hand), more(viaApiBoth, handSeed)],
      ['berth vm clone', ...spread(rounds.map((r) => r.cli.clone))],
      ['berth vm start', ...spread(rounds.map((r) => r.cli.start))],
      ['berth vm clone --start', ...spread(viaCliAtOnce), more(viaCliAtOnce, hand), more(viaCliAtOnce, handSeed)],
      ['two commands', ...spread(viaCliBoth), more(viaCliBoth, hand), more(viaCliBoth, handSeed)],
    ],
  );
  remark(say, 'by hand is timed inside the host; Berth makes and attaches a seed as well. Aim: at most 150 ms more');
}

async function clones({ cluster, hosts }: LabCluster, say: Say): Promise<void> {
  const bases = await Promise.all(hosts.map(basePath));
  const names = (prefix: string) => Array.from({ length: CLONES }, (_, i) => `${prefix}${i + 1}`);
  const mine = (i: number, prefix: string) => names(prefix).filter((_, n) => n % hosts.length === i);
  const onHost = (i: number, prefix: string) => clonesByHand(hosts[i]!, mine(i, prefix), bases[i] ?? '', QEMU_SIZE);
  const cleared = async (prefix: string) => {
    for (const [i, host] of hosts.entries()) await removeByHand(host, mine(i, prefix));
  };
  const rounds = await repeat(ROUNDS, async () => {
    const loop = await timed(async () => {
      for (const i of hosts.keys()) await onHost(i, 's');
    });
    await cleared('s');
    const parallel = await timed(() => Promise.all([...hosts.keys()].map((i) => onHost(i, 'p'))));
    await cleared('p');
    const flags = ['--memory', '96MiB', '--disk-size', SIZE];
    const berth = await timed(() => cluster.ok('vm', 'clone', 'base', ...names('c'), ...flags));
    await cluster.ok('vm', 'delete', ...names('c'));
    return { loop: loop.ms, parallel: parallel.ms, berth: berth.ms };
  });
  table(
    say,
    `${CLONES} clones on three hosts, defined and not started`,
    ['', ...SPREAD],
    [
      ['shell loop, host after host', ...spread(rounds.map((r) => r.loop))],
      ['shell loop, three hosts at once', ...spread(rounds.map((r) => r.parallel))],
      ['berth vm clone base c1 … c20', ...spread(rounds.map((r) => r.berth))],
    ],
  );
  remark(say, 'the image is on every host; the loops make no seeds and place nothing. Aim: faster than the loop');
}
