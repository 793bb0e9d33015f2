/** What a person does without Berth: `qemu-img create -b`, `sed`, `virsh define`, `virsh start`, as shell scripts on a lab host. */
import type { LabHost } from '@berth/deploy/lab/host.ts';

const TEMPLATE = '/tmp/by-hand.xml';
export const SEED_FILES = '/tmp/by-hand-seed';

/** `@N@` is the name, `@U@` the uuid, `@M@` the last bytes of the MAC address. Each step's end is printed in ns. */
const ONE = `
name=$1; base=$2; size=$3; start=$4; dir=/var/lib/berth/volumes
now() { date +%s%N; }
t0=$(now)
qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$dir/$name.qcow2" "$size"
read -r uuid </proc/sys/kernel/random/uuid
sed -e "s/@N@/$name/g; s/@U@/$uuid/; s/@M@/\${uuid%??????????????????????????????????}:\${uuid#??????????????????????????????????}/" ${TEMPLATE} >"/tmp/$name.xml"
virsh -q define "/tmp/$name.xml"
t1=$(now)
[ "$start" = no ] || virsh -q start "$name"
t2=$(now)
`;

const LOOP = `set -eu
for name in $NAMES; do set -- "$name" "$BASE" "$SIZE" no
${ONE}
done`;

const TIMED = `set -eu
${ONE}
genisoimage -quiet -output "$dir/$name.iso" -volid cidata -joliet -rational-rock ${SEED_FILES}
t3=$(now)
virsh -q destroy "$name"; virsh -q undefine "$name"; rm -f "$dir/$name.qcow2" "$dir/$name.iso" "/tmp/$name.xml"
echo $((t1-t0)) $((t2-t1)) $((t3-t2))`;

/** @param xml a domain as Berth defined it; without its seed and its metadata it becomes the template. */
export async function prepareByHand(host: LabHost, xml: string): Promise<void> {
  const template = xml
    .replace(/<metadata>[\s\S]*?<\/metadata>/, '')
    .replace(/<disk\b(?:(?!<\/disk>)[\s\S])*\.iso'[\s\S]*?<\/disk>/, '')
    .replace(/<uuid>[^<]*</, '<uuid>@U@<')
    .replace(/<name>[^<]*</, '<name>@N@<')
    .replace(/<mac address='[^']*'/, "<mac address='52:54:00:77:@M@'")
    .replace(/<source file='[^']*\.qcow2'/, "<source file='/var/lib/berth/volumes/@N@.qcow2'")
    .replace(/<log file='[^']*'/, "<log file='/tmp/@N@.log'");
  await host.writeFile(TEMPLATE, template);
  await host.writeFile(`${SEED_FILES}/meta-data`, 'instance-id: i-1\nlocal-hostname: by-hand\n');
}

/** Path of the image that the host keeps. */
export async function basePath(host: LabHost): Promise<string> {
  return (await host.run(['sh', '-c', 'ls /var/lib/berth/images/*.qcow2'])).trim();
}

export interface ByHand {
  readonly defineMs: number;
  readonly startMs: number;
  /** Making a seed as Berth does; by hand most would do without. */
  readonly seedMs: number;
}

/** One VM made, started and removed again; timed inside the host, so that getting there costs nothing. */
export async function oneByHand(host: LabHost, name: string, base: string, size: string): Promise<ByHand> {
  const out = await host.run(['sh', '-c', TIMED, 'by-hand', name, base, size, 'yes']);
  const [define = 0, start = 0, seed = 0] = out
    .trim()
    .split(' ')
    .map((ns) => Number(ns) / 1e6);
  return { defineMs: define, startMs: start, seedMs: seed };
}

/** Many clones, defined and not started, one after another in one script. */
export async function clonesByHand(host: LabHost, names: readonly string[], base: string, size: string): Promise<void> {
  await host.run(['env', `NAMES=${names.join(' ')}`, `BASE=${base}`, `SIZE=${size}`, 'sh', '-c', LOOP]);
}

export async function removeByHand(host: LabHost, names: readonly string[]): Promise<void> {
  const script = 'for n in "$@"; do virsh -q undefine $n; rm -f /var/lib/berth/volumes/$n.qcow2 /tmp/$n.*; done';
  await host.run(['sh', '-c', script, 'remove', ...names]);
}
