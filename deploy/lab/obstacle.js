/**
 * Why the lab cannot run on this machine, as far as can be told without trying.
 */
import { existsSync } from 'node:fs';

/** One line for people, or undefined. Pure but for its default arguments. */
export function labObstacle({ platform = process.platform, arch = process.arch, exists = existsSync } = {}) {
  if (platform !== 'linux') return `the lab runs on Linux only, this is ${platform}; try --simulate`;
  if (arch !== 'x64') return `the lab's guests are x86-64, this machine is ${arch}; try --simulate`;
  if (!exists('/dev/net/tun')) return 'there is no /dev/net/tun for the guests (try: modprobe tun), or use --simulate';
  return undefined;
}
