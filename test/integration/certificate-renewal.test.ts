/**
 * Certificates that live for seconds: a cluster of real processes lives through several renewals, also of the controller's
 * own, with streams open, and through kills in their middle.
 */
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { execa } from 'execa';
import { serialOf } from '@berth/shared/trust/certificate.ts';
import { Cluster } from '../harness/cluster.ts';
import { eventually, PROGRAMS, run } from '../harness/processes.ts';

/** Renewed about every 12 s. */
const SHORT = 'certificates: { hostLifetime: 20s, controllerLifetime: 20s, caLifetime: 1h }\n';

let c: Cluster;
beforeAll(async () => {
  c = await Cluster.start('127.0.0.1', { config: SHORT });
  await c.addSimulated('h1');
  await c.addSimulated('h2');
  await c.waitUp('h1', 'h2');
}, 120_000);
afterAll(() => c?.stop());

/** Serial of what listens there, whoever may talk to it. */
function serialAt(address: string): Promise<string> {
  const cut = address.lastIndexOf(':');
  const where = { host: address.slice(0, cut), port: Number(address.slice(cut + 1)) };
  return new Promise((resolve, reject) => {
    const socket = connect({ ...where, rejectUnauthorized: false, ALPNProtocols: ['h2'] }, () => {
      resolve(serialOf(socket.getPeerCertificate().serialNumber));
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

async function addressOf(host: string): Promise<string> {
  const hosts = await c.json<{ name: string; address: string }[]>('host', 'list');
  return hosts.find((h) => h.name === host)?.address ?? '';
}

/** Waits until that many other certificates have been seen there. */
async function renewals(address: string, times: number): Promise<void> {
  const seen = new Set<string>();
  await eventually(
    `${times} renewals at ${address}`,
    async () => {
      seen.add(await serialAt(address));
      return seen.size > times;
    },
    times * 60_000,
  );
}

function watch(...args: readonly string[]) {
  const child = execa(process.execPath, [PROGRAMS.berth, ...args], {
    reject: false,
    stdin: 'ignore',
    buffer: false,
    env: { BERTH_CONFIG: c.configFile },
  });
  let [text, open] = ['', true];
  child.stdout?.on('data', (d: Buffer) => (text += d.toString()));
  void child.finally(() => (open = false));
  return { kill: () => child.kill('SIGKILL'), said: () => text, open: () => open };
}

describe('certificates that live for 20 seconds', () => {
  it(
    'are renewed again and again, on hosts and controller, and no stream and no host notices',
    { timeout: 300_000 },
    async () => {
      const events = watch('event', 'watch');
      try {
        const [h1, h2] = [await addressOf('h1'), await addressOf('h2')];
        await Promise.all([renewals(h1, 3), renewals(h2, 3), renewals(c.address, 3)]);
        expect(events.open()).toBe(true);
        await c.ok('token', 'create', 'somebody');
        await eventually('the stream still tells what happens', async () => events.said().includes('somebody'));
        expect(events.said()).not.toMatch(/host\.(unreachable|connecting|certificate|up)/);
        expect(await c.hostState('h1')).toBe('up');
      } finally {
        events.kill();
      }
    },
  );

  it(
    'that ran out while a host was off are a certificate fault; the host is enrolled again',
    { timeout: 200_000 },
    async () => {
      await c.agents.get('h2')?.end('SIGKILL');
      const expired = async () => {
        const all = await c.json<{ subject: string; purpose: string; state: string }[]>('cert', 'list');
        return all.some((x) => x.subject === 'h2' && x.purpose === 'control' && x.state === 'expired');
      };
      await eventually('it has run out', expired, 60_000);
      c.agents.get('h2')?.start();
      await eventually('h2 is a certificate fault', async () => (await c.hostState('h2')) === 'certificate-fault');
      expect(await c.ok('host', 'list')).toMatch(
        /h2 .*expired by the clock of the controller.*berth host re-enroll h2,/,
      );
      const token = await c.ok('host', 're-enroll', 'h2');
      const config = join(c.dir, 'h2', 'agent.yaml');
      const said = await run(PROGRAMS.agent, ['enroll', '--config', config], { input: token });
      expect(said.code, said.err).toBe(0);
      await c.waitUp('h1', 'h2');
    },
  );

  it('outlive kills of the controller and of the agent at any moment', { timeout: 300_000 }, async () => {
    const h1 = await addressOf('h1');
    for (let n = 0; n < 4; n++) {
      await renewals(h1, 1);
      await c.agents.get('h1')?.restart();
      await c.controller.restart();
      await c.waitUp('h1', 'h2');
    }
  });
});
