/** The shell of a lab guest, over its console: runs a line, answers what it prints. */
import { execa } from 'execa';
import type { Cluster } from './cluster.ts';
import { eventually, PROGRAMS } from './processes.ts';

export interface GuestShell {
  /** What the line prints. */
  run(line: string): Promise<string>;
  /** What a command prints, without what the kernel says on the same console. */
  ask(command: string): Promise<string>;
}

export function guestShell(c: Cluster, vm: string): GuestShell {
  const run = async (line: string): Promise<string> => {
    const console = execa(process.execPath, [PROGRAMS.berth, 'vm', 'console', vm, '--force'], {
      env: { BERTH_CONFIG: c.configFile },
      reject: false,
    });
    let heard = '';
    console.stdout.on('data', (d: Buffer) => (heard += d.toString()));
    await eventually('the guest answers', async () => {
      console.stdin.write('\n');
      return heard.includes(`${vm}#`);
    });
    heard = '';
    console.stdin.write(`${line}; echo en""ded\n`);
    await eventually('the guest has done it', async () => /ended/.test(heard));
    console.kill('SIGINT');
    await console;
    return heard.slice(heard.indexOf('\n') + 1, heard.lastIndexOf('ended'));
  };
  return { run, ask: async (command) => /<<([^>]*)>>/.exec(await run(`echo "<<$(${command})>""> "`))?.[1] ?? '' };
}
