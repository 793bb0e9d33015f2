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

/** A guest whose disk is being copied, on a busy machine, answers late. */
const LONG_MS = 120_000;

export function guestShell(c: Cluster, vm: string): GuestShell {
  const run = async (line: string): Promise<string> => {
    const console = execa(process.execPath, [PROGRAMS.berth, 'vm', 'console', vm, '--force'], {
      env: { BERTH_CONFIG: c.configFile },
      reject: false,
    });
    let heard = '';
    console.stdout.on('data', (d: Buffer) => (heard += d.toString()));
    const hears = (what: string, words: string, type = '') =>
      eventually(
        what,
        async () => {
          console.stdin.write(type);
          if (heard.includes(words)) return true;
          throw new Error(JSON.stringify(heard.slice(-300)));
        },
        LONG_MS,
      );
    await hears('the guest answers', `${vm}#`, '\n');
    heard = '';
    console.stdin.write(`${line}; echo en""ded\n`);
    await hears('the guest has done it', 'ended');
    console.kill('SIGINT');
    await console;
    return heard.slice(heard.indexOf('\n') + 1, heard.lastIndexOf('ended'));
  };
  return { run, ask: async (command) => /<<([^>]*)>>/.exec(await run(`echo "<<$(${command})>""> "`))?.[1] ?? '' };
}
