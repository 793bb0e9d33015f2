/** The beginning of a viewer: what a VM's display says first, through `berth vm vnc`. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { execa } from 'execa';
import type { Cluster } from './cluster.ts';
import { eventually, PROGRAMS } from './processes.ts';

/** The protocol version that the VM's VNC server names. */
export async function vncGreeting(c: Cluster, vm: string): Promise<string> {
  const screen = execa(process.execPath, [PROGRAMS.berth, 'vm', 'vnc', vm, '--no-open'], {
    env: { BERTH_CONFIG: c.configFile },
    reject: false,
    buffer: false,
    stdin: 'ignore',
    all: true,
  });
  let said = '';
  screen.all.on('data', (d: Buffer) => (said += d.toString()));
  try {
    const port = await eventually('an address', async () => {
      const found = /^127\.0\.0\.1:(\d+)$/m.exec(said)?.[1];
      if (found === undefined) throw new Error(said);
      return Number(found);
    });
    const socket = connect(port, '127.0.0.1');
    const [greeting] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    return greeting.toString();
  } finally {
    screen.kill('SIGINT');
    await screen;
  }
}
