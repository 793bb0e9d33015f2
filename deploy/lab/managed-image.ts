/**
 * Images of lab hosts that have more than others: the host image with some packages. Made from it once, in a container, and gone with
 * it; only tests have a use for them.
 */
import { docker, LAB_LABEL, tolerate } from './engine.ts';
import { hostImageTag, IMAGE_CHANGES } from './recipe.js';

const install = (packages: readonly string[]): string => `set -e; export DEBIAN_FRONTEND=noninteractive
apt-get -q -o Acquire::Languages=none update
apt-get -q -y install --no-install-recommends ${packages.join(' ')}
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb`;

/** A host that Ansible can work on: with an SSH server and Python, as every Debian that somebody installed has them. */
export const ensureManagedImage = (): Promise<string> =>
  ensureImageWith('managed', ['openssh-server', 'python3', 'python3-apt']);

/** A host that mounts volumes of Gluster; a server of them is made of the same. */
export const ensureGlusterImage = (): Promise<string> =>
  ensureImageWith('gluster', ['glusterfs-server', 'glusterfs-client']);

/** A host with the shells that completion is for, beside bash. */
export const ensureShellsImage = (): Promise<string> => ensureImageWith('shells', ['zsh', 'fish']);

/** Answers its tag. Two at once make it twice, and the later one stays. */
async function ensureImageWith(name: string, packages: readonly string[]): Promise<string> {
  const engine = await docker();
  const tag = `${hostImageTag()}-${name}`;
  if ((await engine.listImages()).some(({ RepoTags }) => RepoTags?.includes(tag))) return tag;
  const container = await engine.createContainer({
    Image: hostImageTag(),
    Labels: { [LAB_LABEL]: `${name}-image` },
    Entrypoint: ['/bin/sh', '-c', install(packages)],
    Cmd: [],
  });
  try {
    await container.start();
    const { StatusCode } = (await container.wait()) as { StatusCode: number };
    if (StatusCode !== 0)
      throw new Error(`${packages.join(' ')} cannot be installed: apt-get ended with ${StatusCode}`);
    const [repo, version] = tag.split(':');
    // what it is asked to run here is not what hosts boot with
    await container.commit({ repo, tag: version, changes: IMAGE_CHANGES.join('\n') });
  } finally {
    await tolerate([404, 409], () => container.remove({ force: true, v: true }));
  }
  return tag;
}
