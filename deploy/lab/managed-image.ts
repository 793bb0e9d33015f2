/**
 * The image of a lab host that Ansible can work on: the host image with an SSH server and Python, as every Debian that somebody
 * installed has them. Made from it once, in a container, and gone with it; only tests have a use for it.
 */
import { docker, LAB_LABEL, tolerate } from './engine.ts';
import { hostImageTag } from './recipe.js';

const PACKAGES = ['openssh-server', 'python3', 'python3-apt'];
const INSTALL = `set -e; export DEBIAN_FRONTEND=noninteractive
apt-get -q -o Acquire::Languages=none update
apt-get -q -y install --no-install-recommends ${PACKAGES.join(' ')}
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb`;

const managedImageTag = (): string => `${hostImageTag()}-managed`;

/** Answers its tag. Two at once make it twice, and the later one stays. */
export async function ensureManagedImage(): Promise<string> {
  const engine = await docker();
  const tag = managedImageTag();
  if ((await engine.listImages()).some(({ RepoTags }) => RepoTags?.includes(tag))) return tag;
  const container = await engine.createContainer({
    Image: hostImageTag(),
    Labels: { [LAB_LABEL]: 'managed-image' },
    Entrypoint: ['/bin/sh', '-c', INSTALL],
    Cmd: [],
  });
  try {
    await container.start();
    const { StatusCode } = (await container.wait()) as { StatusCode: number };
    if (StatusCode !== 0)
      throw new Error(`${PACKAGES.join(' ')} cannot be installed: apt-get ended with ${StatusCode}`);
    const [repo, version] = tag.split(':');
    await container.commit({ repo, tag: version });
  } finally {
    await tolerate([404, 409], () => container.remove({ force: true, v: true }));
  }
  return tag;
}
