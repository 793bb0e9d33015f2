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
      const mirror = `<mirror type="${typeOf(destXml)}" job="copy">${SOURCE.exec(destXml)?.[0] ?? ''}</mirror>`;
      host.changeRunning(uuid, (xml) => onDisk(xml, target, (d) => d.replace('</disk>', `${mirror}</disk>`)));
    },
    progress: async (uuid, target) =>
      running.has(key(uuid, target)) ? { doneBytes: 1, totalBytes: 1, ready: true } : undefined,
    async pivot(uuid, target) {
      const destXml = running.get(key(uuid, target));
      if (destXml === undefined) throw badState(`disk ${target} of ${uuid} is not being copied`);
      running.delete(key(uuid, target));
      host.changeRunning(uuid, (xml) => moved(onDisk(xml, target, unmirrored), target, destXml));
      const { name, xml } = host.get(uuid);
      host.define({ uuid, name, xml: moved(xml, target, destXml) });
    },
    async abort(uuid, target) {
      if (!running.delete(key(uuid, target))) return;
      host.changeRunning(uuid, (xml) => onDisk(xml, target, unmirrored));
    },
  };
}

const SOURCE = /<source [^>]*\/>|<source [\s\S]*?<\/source>/;
const typeOf = (diskXml: string): string => /<disk type="(\w+)"/.exec(diskXml)?.[1] ?? 'file';
const driverOf = (diskXml: string): string => /<driver [^>]*\btype="(\w+)"/.exec(diskXml)?.[1] ?? 'raw';

const unmirrored = (disk: string): string => disk.replace(/<mirror [\s\S]*<\/mirror>/, '');

/** From its source to the end of what is below it; below a blank disk is nothing. */
const CHAIN = /<source [\s\S]*(?:<\/backingStore>|<backingStore\/>)/;

/** The disk with the source, its kind, and the chain of another. */
function moved(xml: string, target: string, destXml: string): string {
  const chain = CHAIN.exec(destXml)?.[0] ?? '';
  return onDisk(xml, target, (disk) =>
    disk
      .replace(CHAIN, () => chain)
      .replace(/^<disk type="\w+"/, `<disk type="${typeOf(destXml)}"`)
      .replace(/(<driver [^>]*\btype=")\w+/, `$1${driverOf(destXml)}`),
  );
}

function onDisk(xml: string, target: string, change: (disk: string) => string): string {
  const disk = [...xml.matchAll(/<disk\b[\s\S]*?<\/disk>/g)]
    .map((m) => m[0])
    .find((d) => d.includes(`dev="${target}"`));
  return disk === undefined ? xml : xml.replace(disk, () => change(disk));
}
