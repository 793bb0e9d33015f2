/**
 * Consoles of real guests: a guest prints numbered lines while its log rotates and everything around it is killed, and each line is
 * seen once; its screen comes through the controller as VNC.
 */
import { connect, type Socket } from 'node:net';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

const LINES = 400;
const ROTATE_BYTES = 16 * 1024;
const PADDING = 'x'.repeat(180);

describeLab('consoles', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  const host = () => lab().host('h1');
  beforeAll(async () => {
    // rotates often; virtlogd reads its settings when it starts
    await host().writeFile('/etc/libvirt/virtlogd.conf', `max_size = ${ROTATE_BYTES}\nmax_backups = 3\n`);
    await host().kill('^virtlogd', 'SIGTERM');
    await host().run(['virtlogd', '-d']);
    c = await Cluster.start(await machineAddress(lab()));
    await c.addLabHost(host());
    await c.waitUp('h1');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
    await c.ok('vm', 'clone', 'base', 'web', '--memory', '128MiB', '--start');
    await c.serial('web', /^berth-guest: web /m);
  }, 180_000);
  afterAll(() => c?.stop());

  function start(...args: string[]) {
    const child = execa(process.execPath, [PROGRAMS.berth, 'vm', ...args], {
      env: { BERTH_CONFIG: c.configFile, DISPLAY: '' },
      reject: false,
      buffer: false,
    });
    const said = { out: '', err: '' };
    child.stdout.on('data', (d: Buffer) => (said.out += d.toString()));
    child.stderr.on('data', (d: Buffer) => (said.err += d.toString()));
    const hears = (what: string, pattern: RegExp) =>
      eventually(
        what,
        async () => {
          if (pattern.test(said.out + said.err)) return true;
          throw new Error(JSON.stringify((said.out + said.err).slice(-400)));
        },
        120_000,
      );
    return { child, said, hears };
  }

  const numbers = (text: string) => [...text.matchAll(/^n (\d+) x+\r$/gm)].map((m) => Number(m[1]));
  const printed = (n: number) => new RegExp(`^n ${n} x`, 'm');

  it('show every line once, in order, while libvirt, the agent and the controller are killed and the log rotates', async () => {
    const me = start('console', 'web');
    await eventually('the guest answers', async () => {
      me.child.stdin.write('\n');
      return me.said.out.includes('web#');
    });
    const log = start('log', 'web', '--follow');
    me.child.stdin.write(
      `i=0; while [ $i -lt ${LINES} ]; do i=$((i+1)); echo "n $i ${PADDING}"; usleep 30000; done; echo co""unted\n`,
    );
    await me.hears('it counts', printed(20));
    await host().killLibvirt();
    await me.hears('it goes on without libvirt', printed(80));
    await host().waitForLibvirt();
    await host().stopAgent('SIGKILL');
    await me.hears('the agent is missed', /Waiting for it; Ctrl-C leaves/);
    await host().startAgent();
    await me.hears('it is back', /web is back/);
    await c.controller.restart('SIGKILL');
    await me.hears('it is through', /^counted\r$/m);
    await log.hears('the log is through', /^counted\r$/m);
    const all = Array.from({ length: LINES }, (_, i) => i + 1);
    expect(numbers(me.said.out)).toEqual(all);
    expect(numbers(log.said.out)).toEqual(all);
    me.child.stdin.write('echo sti""ll\n');
    await me.hears('it still takes what is typed', /^still\r$/m);
    for (const p of [me, log]) {
      p.child.kill('SIGINT');
      await p.child;
    }
  });

  it('leave no more of a chatty guest on the disk than is kept', async () => {
    const sizes = await host().run(['sh', '-c', 'stat -c %s /var/lib/berth/serial/*']);
    const files = sizes.trim().split('\n').map(Number);
    expect(files.length).toBe(4);
    expect(files.reduce((n, b) => n + b, 0)).toBeLessThanOrEqual(4 * (ROTATE_BYTES + 4096));
    const kept = await c.ok('vm', 'log', 'web');
    expect(numbers(kept).at(-1)).toBe(LINES);
    expect(kept.length).toBeGreaterThan(2 * ROTATE_BYTES);
  });

  it('tell whether the guest has a login', async () => {
    expect(await c.ok('vm', 'console', '--check', 'web')).toMatch(/^web has printed .* shows a login or a shell/);
  });

  it('show the screen by VNC: greeting, and a picture of the right size', async () => {
    const screen = start('vnc', 'web');
    await screen.hears('an address', /^127\.0\.0\.1:\d+$/m);
    const port = Number(/:(\d+)$/m.exec(screen.said.out)?.[1]);
    const [one, other] = await Promise.all([Rfb.open(port), Rfb.open(port)]);
    expect(await one.picture()).toBe(one.width * one.height * 4);
    expect(await other.picture()).toBe(other.width * other.height * 4);
    expect(one.width).toBeGreaterThanOrEqual(640);
    await c.ok('vm', 'stop', 'web', '--force');
    await eventually('the viewers are cut off', async () => one.over && other.over);
    expect((await screen.child).exitCode).toBe(0);
    expect(screen.said.err).toMatch(/^web is stopped\.$/m);
  });
});

/** As much of RFB 3.8 as a picture takes. */
class Rfb {
  width = 0;
  height = 0;
  over = false;
  private readonly waiting: AsyncIterator<Buffer>;
  private rest = Buffer.alloc(0);

  private constructor(private readonly socket: Socket) {
    socket.on('error', () => undefined).on('close', () => (this.over = true));
    this.waiting = (socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  static async open(port: number): Promise<Rfb> {
    const rfb = new Rfb(connect(port, '127.0.0.1'));
    expect((await rfb.read(12)).toString()).toBe('RFB 003.008\n');
    rfb.socket.write('RFB 003.008\n');
    const kinds = await rfb.read((await rfb.read(1)).readUInt8());
    expect([...kinds]).toContain(1); // none: who may is Berth's business
    rfb.socket.write(Buffer.from([1]));
    expect((await rfb.read(4)).readUInt32BE()).toBe(0);
    rfb.socket.write(Buffer.from([1])); // shared
    const init = await rfb.read(24);
    [rfb.width, rfb.height] = [init.readUInt16BE(0), init.readUInt16BE(2)];
    await rfb.read(init.readUInt32BE(20));
    return rfb;
  }

  /** Asks for the whole screen, uncompressed. @returns the bytes of its pixels. */
  async picture(): Promise<number> {
    const ask = Buffer.from([2, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    ask.writeUInt16BE(this.width, 14);
    ask.writeUInt16BE(this.height, 16);
    this.socket.write(ask);
    const [kind, , , count] = await this.read(4);
    expect(kind).toBe(0);
    let pixels = 0;
    for (let i = 0; i < (count ?? 0); i++) {
      const box = await this.read(12);
      const bytes = box.readUInt16BE(4) * box.readUInt16BE(6) * 4;
      pixels += (await this.read(bytes)).length;
    }
    return pixels;
  }

  private async read(bytes: number): Promise<Buffer> {
    while (this.rest.length < bytes) {
      const next = await this.waiting.next();
      if (next.done) throw new Error('the connection has ended');
      this.rest = Buffer.concat([this.rest, next.value]);
    }
    const got = this.rest.subarray(0, bytes);
    this.rest = this.rest.subarray(bytes);
    return got;
  }
}
