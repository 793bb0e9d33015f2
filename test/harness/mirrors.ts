/** Copies of a disk (vdb of vm web) under its guest: made slow enough to break something meanwhile, with a guest that writes, and proof of each write. */
import type { LabHost } from '@berth/deploy/lab/host.ts';
import type { Cluster } from './cluster.ts';
import { eventually } from './processes.ts';

const bandwidth = (mibPerSecond: number): string => `virsh -q blockjob web vdb --bandwidth ${mibPerSecond}`;

/** 4 MiB a second, as soon as it runs. */
export const slowMirror = (host: LabHost): Promise<string> =>
  host.run(['timeout', '60', 'sh', '-c', `until ${bandwidth(4)} 2>/dev/null; do :; done`]);

/** libvirt that has not come up yet takes no word, and a slow copy never catches up with a guest that writes. */
export const fastMirror = (host: LabHost, ended: () => Promise<boolean>): Promise<unknown> =>
  eventually('libvirt lets the copy be fast, or it has ended', async () => {
    return (await host.exec(['sh', '-c', bandwidth(2_000)])).exitCode === 0 || ended();
  });

export const hasEnded = async (c: Cluster, job: string): Promise<boolean> =>
  ['succeeded', 'failed', 'cancelled'].includes((await c.json<{ state: string }>('job', 'show', job)).state);

/** Numbers, one after the other, each on the disk before the next: what was confirmed must be there in the end. */
export const WRITER =
  '(n=0; while [ ! -e /tmp/stop ]; do n=$((n+1)); printf "%-16d" $n | dd of=/dev/vdb bs=16 seek=$n conv=notrunc,fsync 2>/dev/null ' +
  '&& echo $n >/tmp/n; done; touch /tmp/done) >/dev/null 2>&1 & true';
/** Prints `same` and how many. */
export const CHECK =
  'echo 3 >/proc/sys/vm/drop_caches; n=$(cat /tmp/n); i=0; ' +
  '(while [ $i -lt $n ]; do i=$((i+1)); printf "%-16d" $i; done) | md5sum >/tmp/want; ' +
  'dd if=/dev/vdb bs=16 skip=1 count=$n 2>/dev/null | md5sum >/tmp/have; cmp /tmp/want /tmp/have && echo same $n';
