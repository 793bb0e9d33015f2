/**
 * Builds the bootable guest image, once per recipe, inside a container of the host image, which has all the tools. It needs
 * no network, no loop device and no mount.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { runContainer } from '../setup/docker-api.js';
import { SetupError, lastWords } from '../setup/process.js';
import { findRoot } from '../setup/root.js';
import { guestImagePath, hostImageTag } from './recipe.js';

export function guestImageExists() {
  return existsSync(guestImagePath());
}

/** Answers the path of base.qcow2. */
export async function buildGuestImage(socketPath) {
  const target = guestImagePath();
  const dir = path.dirname(target);
  mkdirSync(dir, { recursive: true });
  const { code, output } = await runContainer(socketPath, {
    Image: hostImageTag(),
    Labels: { 'berth.lab': 'guest-image' },
    Entrypoint: ['/bin/sh', '/opt/berth/deploy/lab/guest/build.sh', '/out/base.qcow2'],
    Cmd: [],
    NetworkDisabled: true,
    HostConfig: { Binds: [`${findRoot()}:/opt/berth:ro`, `${dir}:/out`] },
  });
  if (code !== 0 || !existsSync(target)) throw new SetupError(`the guest image cannot be built: ${lastWords(output)}`);
  removeOlder(dir);
  return target;
}

function removeOlder(current) {
  const parent = path.dirname(current);
  for (const name of readdirSync(parent))
    if (/^guest-[0-9a-f]{12}$/.test(name) && name !== path.basename(current))
      rmSync(path.join(parent, name), { recursive: true });
}
