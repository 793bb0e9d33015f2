/** What `berth vm clone` is to clone: an image, or a VM, whose disks are captured first into images that nobody lists. */
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';
import { text, yes, type Flag, type Flags } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';
import { runMany } from '../job/many.ts';

export const SOURCE_FLAGS: readonly Flag[] = [
  { spec: '--from-vm', description: 'what is cloned is a VM, running or not (also: vm/web)' },
  { spec: '--from-image', description: 'what is cloned is an image (also: image/web)' },
  { spec: '--snapshot <name>', description: 'of a VM: as it was in this snapshot', kind: 'snapshot' },
];

/** A VM that is cloned, as it is now, or (not empty) as it was in a snapshot. */
export interface ClonedVm {
  readonly vm: string;
  readonly snapshot: string;
}

/** Looks at all that is asked for, before anything is captured. @throws what stands in the way; undefined: no more than a look was wanted */
export type Look = (of: ClonedVm, left: readonly string[]) => Promise<true | undefined>;

export interface Source {
  /** Undefined: there is nothing to do (any more). */
  readonly image: string | undefined;
  /** Those that are left to be made. */
  readonly names: readonly string[];
}

/** @throws INVALID_ARGUMENT when the name is that of an image and of a VM, and no flag (nor a snapshot) says which is meant */
export async function cloneSource(
  ctx: Context,
  said: string,
  { names, flags, look }: { readonly names: readonly string[]; readonly flags: Flags; readonly look: Look },
): Promise<Source> {
  const { kind, name } = asked(said, flags);
  const snapshot = text(flags, 'snapshot') ?? '';
  if (kind === 'image') return { image: notOfAn(name, snapshot), names };
  const api = await ctx.api();
  const vm = await orNothing(api.call(api.vms, (c) => c.getVm, { vm: name }));
  if (kind === undefined) {
    const image = vm && (await orNothing(api.call(api.images, (c) => c.getImage, { image: name })));
    // images have no snapshots
    if (vm && image && snapshot === '')
      throw invalidArgument(`${name} is an image and a vm. Say which: --from-image, or --from-vm (vm/${name})`);
    if (!vm) return { image: notOfAn(name, snapshot), names };
  }
  const of = { vm: vm?.name ?? name, snapshot };
  const left = await notYetMade(ctx, api, of, names);
  if (left.length === 0 || (await look(of, left)) === undefined) return { image: undefined, names: [] };
  return { image: await captured(ctx, api, of), names: left };
}

function notOfAn(image: string, snapshot: string): string {
  if (snapshot !== '') throw invalidArgument(`${image} is an image, which has no snapshots: --snapshot is for a vm`);
  return image;
}

interface Asked {
  readonly kind: 'vm' | 'image' | undefined;
  readonly name: string;
}

function asked(said: string, flags: Flags): Asked {
  const [, prefix, rest] = /^(vm|image)\/(.*)$/.exec(said) ?? [];
  const byFlag = yes(flags, 'fromVm') ? 'vm' : yes(flags, 'fromImage') ? 'image' : undefined;
  if (yes(flags, 'fromVm') && yes(flags, 'fromImage')) throw invalidArgument('--from-vm and --from-image: choose');
  if (prefix && byFlag && prefix !== byFlag) throw invalidArgument(`${said} and --from-${byFlag} contradict`);
  return { kind: (prefix as Asked['kind']) ?? byFlag, name: rest ?? said };
}

async function orNothing<T>(asking: Promise<T>): Promise<T | undefined> {
  try {
    return await asking;
  } catch (e) {
    if (isClusterError(e, 'NOT_FOUND', 'PERMISSION_DENIED')) return undefined;
    throw e;
  }
}

/** Those that an earlier try has made are left alone. */
async function notYetMade(ctx: Context, api: Api, of: ClonedVm, names: readonly string[]): Promise<readonly string[]> {
  const left: string[] = [];
  for (const name of names) if (!(names.length > 1 && (await isCloneOf(api, name, of)))) left.push(name);
  if (left.length < names.length) note(ctx, `${names.length - left.length} of ${names.length} are there already.`);
  return left;
}

/** Once for all clones. */
async function captured(ctx: Context, api: Api, { vm, snapshot }: ClonedVm): Promise<string> {
  let image = '';
  await runMany(ctx, {
    ...{ noun: 'vm', names: [vm], wait: true },
    start: async () => {
      const made = await api.call(api.captures, (c) => c.captureImage, {
        ...{ vm, name: '', disks: [], hidden: true, snapshot },
      });
      image = made.images[0]?.id ?? '';
      return made;
    },
    done: async () => 'captured',
  });
  return image;
}

/** Of the VM, and of the very snapshot, if any. */
async function isCloneOf(api: Api, name: string, of: ClonedVm): Promise<boolean> {
  const there = await orNothing(api.call(api.vms, (c) => c.getVm, { vm: name }));
  const image = there?.spec?.disks[0]?.image;
  if (!image) return false;
  const from = await orNothing(api.call(api.images, (c) => c.getImage, { image }));
  const [vm, ...parts] = from?.origin.split(', ') ?? [];
  const snapshot = parts.find((p) => p.startsWith('snapshot '))?.slice('snapshot '.length) ?? '';
  return from?.hidden === true && vm === `vm ${of.vm}` && snapshot === of.snapshot;
}
