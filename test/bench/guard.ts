/**
 * A process that outlives the bench by a moment: when that is gone, however it ended (a signal, Ctrl-C, kill -9), it ends the
 * controller and removes the lab. It does nothing as long as the bench lives.
 */
import { spawn } from 'node:child_process';
import { LAB_LABEL } from '@berth/deploy/lab/engine.ts';
import type { Cluster } from '../harness/cluster.ts';

export interface Guard {
  /** Its controller, and its files. */
  watch(cluster: Pick<Cluster, 'controller' | 'dir'>): void;
  /** All has been removed. */
  end(): void;
}

/** The end of its standard input is the end of the bench. */
const SCRIPT = `
const { execFileSync } = require('node:child_process');
const docker = (...args) => { try { return execFileSync('docker', args, { stdio: ['ignore', 'pipe', 'ignore'] }).toString().split(/\\s+/).filter(Boolean); } catch { return []; } };
const filter = ['--filter', 'label=' + process.argv[1]];
let said = '';
process.stdin.on('data', (d) => (said += d)).on('end', () => {
  for (const line of said.split('\\n').filter(Boolean)) {
    if (line === 'over') return;
    const { pid, dir } = JSON.parse(line);
    try { process.kill(pid, 'SIGKILL'); } catch {}
    require('node:fs').rmSync(dir, { recursive: true, force: true });
  }
  for (const id of docker('ps', '-aq', ...filter)) docker('rm', '-fv', id);
  for (const id of docker('network', 'ls', '-q', ...filter)) docker('network', 'rm', id);
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);
`;

export function guardLab(label: string): Guard {
  const child = spawn(process.execPath, ['-e', SCRIPT, `${LAB_LABEL}=${label}`], {
    ...{ stdio: ['pipe', 'ignore', 'ignore'], detached: true },
  });
  child.unref();
  const stdin = child.stdin!;
  stdin.on('error', () => undefined);
  return {
    watch: ({ controller, dir }) => void stdin.write(`${JSON.stringify({ pid: controller.pid, dir })}\n`),
    end: () => void stdin.end('over\n'),
  };
}
