/** How long the command line takes to start and to answer, beside what Node alone takes. */
import { execa } from 'execa';
import { Cluster } from '../harness/cluster.ts';
import { PROGRAMS } from '../harness/processes.ts';
import { remark, repeat, SPREAD, spread, table, timed, type Say } from './report.ts';

const TIMES = 15;

export async function cliTopic(say: Say): Promise<void> {
  const cluster = await Cluster.start();
  const node = (...args: string[]) => execa(process.execPath, args, { env: { BERTH_CONFIG: cluster.configFile } });
  const commands: readonly [string, readonly string[]][] = [
    ['node -e 0', ['-e', '0']],
    ['berth --help', [PROGRAMS.berth, '--help']],
    ['berth vm list', [PROGRAMS.berth, 'vm', 'list']],
    ['berth host list -o json', [PROGRAMS.berth, 'host', 'list', '-o', 'json']],
  ];
  try {
    const samples = new Map(commands.map(([name]) => [name, [] as number[]]));
    await repeat(TIMES, async () => {
      for (const [name, args] of commands) samples.get(name)?.push((await timed(() => node(...args))).ms);
    });
    table(
      say,
      'Command line: wall time of one command',
      ['', ...SPREAD],
      [...samples].map(([name, all]) => [name, ...spread(all)]),
    );
    remark(say, 'a real controller on this machine, TLS and all; node -e 0 is the floor');
  } finally {
    await cluster.stop();
  }
}
