/** Live copies of disks of simulated guests: done as soon as they have begun. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import type { DiskCopies } from '../disk-copies.ts';

export function simDiskCopies(host: SimHost): DiskCopies {
  const running = new Map<string, string>();
  const key = (uuid: string, target: string): string => `${uuid}/${target}`;
  return {
    async begin(uuid, target, destXml) {
      const { name } = host.get(uuid);
      host.getRunningXml(uuid);
      if (running.has(key(uuid, target))) throw badState(`disk ${target} of domain ${name} is being copied already`);
      running.set(key(uuid, target), destXml);
    },
    progress: async (uuid, target) =>
      running.has(key(uuid, target)) ? { doneBytes: 1, totalBytes: 1, ready: true } : undefined,
    async pivot(uuid, target) {
      const destXml = running.get(key(uuid, target));
      if (destXml === undefined) throw badState(`disk ${target} of ${uuid} is not being copied`);
      running.delete(key(uuid, target));
      host.changeRunning(uuid, (xml) => moved(xml, target, destXml));
      const { name, xml } = host.get(uuid);
      host.define({ uuid, name, xml: moved(xml, target, destXml) });
    },
    abort: async (uuid, target) => void running.delete(key(uuid, target)),
  };
}

/** The disk with the source and the chain of another. */
function moved(xml: string, target: string, destXml: string): string {
  const chain = /<source [\s\S]*<\/backingStore>/.exec(destXml)?.[0] ?? '';
  const disk = [...xml.matchAll(/<disk\b[\s\S]*?<\/disk>/g)]
    .map((m) => m[0])
    .find((d) => d.includes(`dev="${target}"`));
  if (disk === undefined) return xml;
  return xml.replace(disk, () => disk.replace(/<source [\s\S]*<\/backingStore>/, () => chain));
}
