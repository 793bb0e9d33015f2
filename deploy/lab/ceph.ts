/** A server of Ceph in the network of a lab, for tests of disks that lie there. It goes with its lab. */
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { findRoot } from '../setup/root.js';
import { docker, LAB_LABEL } from './engine.ts';
import type { Lab } from './lab.ts';
import { networkName } from './network.ts';
import { cephImageTag } from './recipe.js';
import { Shells } from './shells.ts';

export interface CephServer {
  /** Of its monitor. */
  readonly address: string;
  /** Names of what lies in its pool. */
  list(): Promise<readonly string[]>;
  /** A command of Ceph's; throws with its words when it fails. */
  run(argv: readonly string[]): Promise<string>;
  pause(): Promise<void>;
  unpause(): Promise<void>;
  /** Its pool, and who may use it with which key. */
  readonly pool: string;
  readonly user: string;
  readonly key: string;
}

const POOL = 'vms';
const USER = 'berth';
const UP_MS = 120_000;
const STEP_MS = 200;

/** Resolves when its pool can be used. */
export async function startCeph(lab: Lab): Promise<CephServer> {
  const engine = await docker();
  const network = networkName(lab.label);
  const script = '/opt/berth/deploy/lab/ceph/server.sh';
  const container = await engine.createContainer({
    ...{ Image: cephImageTag(), name: `berth-${lab.label}-ceph`, Labels: { [LAB_LABEL]: lab.label } },
    // its own address is known to it alone
    Cmd: ['sh', '-c', `exec sh ${script} $(hostname -i) >/run/server.log 2>&1`],
    HostConfig: { NetworkMode: network, Binds: [`${findRoot()}:/opt/berth:ro`] },
  });
  await container.start();
  const { NetworkSettings } = await container.inspect();
  const address = NetworkSettings.Networks[network]?.IPAddress ?? '';
  const shells = new Shells(container);
  const run = async (argv: readonly string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await shells.run(argv);
    if (exitCode !== 0) throw new Error(`${argv.join(' ')} in Ceph: ${stderr.toString()}`);
    return stdout.toString();
  };
  const key = await untilKey(run);
  return {
    ...{ address, pool: POOL, user: USER, key, run },
    list: async () => (await run(['rbd', 'ls', POOL])).split('\n').filter((name) => name !== ''),
    pause: () => (shells.drop(), container.pause()),
    unpause: () => container.unpause(),
  };
}

async function untilKey(run: (argv: readonly string[]) => Promise<string>): Promise<string> {
  for (const deadline = systemClock.monotonic() + UP_MS; ; await systemClock.sleep(STEP_MS)) {
    const key = await run(['cat', '/run/berth.key']).catch(() => '');
    if (key.trim() !== '') return key.trim();
    if (systemClock.monotonic() > deadline)
      throw new Error(`Ceph is not up: ${await run(['tail', '-n', '5', '/run/server.log']).catch(String)}`);
  }
}
