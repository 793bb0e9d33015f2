/** A server of Gluster in the network of a lab, with one volume, for tests of disks that lie there. It goes with its lab. */
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { docker, LAB_LABEL } from './engine.ts';
import type { Lab } from './lab.ts';
import { networkName } from './network.ts';
import { Shells } from './shells.ts';

export interface GlusterServer {
  readonly address: string;
  /** Of its volume. */
  readonly volume: string;
  /** A command there; throws with its words when it fails. */
  run(argv: readonly string[]): Promise<string>;
  pause(): Promise<void>;
  unpause(): Promise<void>;
}

const VOLUME = 'vms';
export const BRICK = '/srv/brick';
const UP_MS = 60_000;
const STEP_MS = 200;
const DAEMON = 'glusterd && exec sleep infinity';
/** One brick, on the disk of the container; guests' disks as Gluster's own `group virt` has them, as far as one brick can. */
const MAKE = `set -e; gluster volume create ${VOLUME} $(hostname -i):${BRICK} force
gluster volume set ${VOLUME} network.remote-dio enable
gluster volume start ${VOLUME}`;

/** Resolves when its volume can be mounted. @param image of ensureGlusterImage */
export async function startGluster(lab: Lab, image: string): Promise<GlusterServer> {
  const engine = await docker();
  const network = networkName(lab.label);
  const container = await engine.createContainer({
    ...{ Image: image, name: `berth-${lab.label}-gluster`, Labels: { [LAB_LABEL]: lab.label } },
    ...{ Entrypoint: ['/usr/bin/tini', '--', 'sh', '-c', DAEMON], Cmd: [] },
    // trusted attributes of files are written by nobody else
    HostConfig: { NetworkMode: network, CapAdd: ['SYS_ADMIN'] },
  });
  await container.start();
  const { NetworkSettings } = await container.inspect();
  const address = NetworkSettings.Networks[network]?.IPAddress ?? '';
  const shells = new Shells(container);
  const run = async (argv: readonly string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await shells.run(argv);
    if (exitCode !== 0) throw new Error(`${argv.join(' ')} in Gluster: ${stderr.toString() || stdout.toString()}`);
    return stdout.toString();
  };
  await untilAnswers(run);
  await run(['sh', '-c', MAKE]);
  return {
    address,
    volume: VOLUME,
    run,
    pause: () => (shells.drop(), container.pause()),
    unpause: () => container.unpause(),
  };
}

async function untilAnswers(run: (argv: readonly string[]) => Promise<string>): Promise<void> {
  for (const deadline = systemClock.monotonic() + UP_MS; ; await systemClock.sleep(STEP_MS)) {
    try {
      await run(['gluster', 'volume', 'list']);
      return;
    } catch (e) {
      if (systemClock.monotonic() > deadline) throw e;
    }
  }
}
