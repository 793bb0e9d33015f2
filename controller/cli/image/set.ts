/** berth image set: what VMs made of an image get where nothing else is said, and how many copies cleaning up leaves. */
import { definitionToWire } from '@berth/shared/hardware/definition-wire.ts';
import { SetImageRequest } from '@berth/proto/v1/image.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { count, text, type Command, type Flag, type Flags } from '../core/command.ts';
import { runMany } from '../job/many.ts';
import { DEFINITION_FLAGS, definitionOf, fillForm, type Form } from '../vm/definition-flags.ts';
import { imageSpecForm } from './document.ts';

/** What belongs to one VM or one host is no default. */
const NOT_HERE = /^--(cdrom|host-device|graphics-password-file|vnc-port)\b/;
export const DEFAULT_FLAGS: readonly Flag[] = [
  { spec: '--memory <size>', description: 'memory: 4GiB,max=8GiB' },
  { spec: '--vcpus <n>', description: 'virtual CPUs: 4,max=8' },
  ...DEFINITION_FLAGS.filter((f) => !NOT_HERE.test(f.spec)),
];

export const imageSet: Command = {
  noun: 'image',
  verb: 'set',
  summary: 'say what VMs made of an image get where nothing else is said',
  details: `Examples:
  berth image set debian --memory 1GiB --vcpus 2 --os-variant debian12
  berth image set debian --set memory=          back to the usual
  berth image set debian --keep-copies 2        cleaning up leaves two copies
What is in an image never changes, and VMs that are there stay as they are.`,
  args: [{ name: 'images', description: 'images to change', required: true, many: true, kind: 'image' }],
  flags: [...DEFAULT_FLAGS, { spec: '--keep-copies <n>', description: 'hosts that keep a copy when others clean up' }],
  async run(ctx, names, flags) {
    fillForm({}, flags); // before anything is asked of anybody
    const keepCopies = text(flags, 'keepCopies') === undefined ? undefined : count(flags, 'keepCopies', 1);
    const asked = hasDefaults(flags);
    if (!asked && keepCopies === undefined) throw invalidArgument('what shall change? See: berth image set --help');
    await runMany(ctx, {
      ...{ noun: 'image', names, wait: true },
      start: async (api, image) => {
        const form = imageSpecForm(await api.call(api.images, (c) => c.getImage, { image }));
        fillForm(form, flags);
        const spec = asked ? { defaultSpec: definitionToWire(definitionOf(form)) } : {};
        await api.call(api.images, (c) => c.setImage, SetImageRequest.fromPartial({ image, ...spec, keepCopies }));
        return { jobId: '' };
      },
      done: async () => 'changed',
    });
  },
};

/** Whether any flag says something of the default spec. */
export function hasDefaults(flags: Flags): boolean {
  const names = DEFAULT_FLAGS.map((f) =>
    (/--([a-z-]+)/.exec(f.spec)?.[1] ?? '').replace(/-([a-z])/g, (_, c: string) => c.toUpperCase()),
  );
  return names.some((n) => flags[n] !== undefined && !(Array.isArray(flags[n]) && flags[n].length === 0));
}

/** The default spec that flags alone say; undefined: nothing. */
export function defaultsOf(flags: Flags): ReturnType<typeof definitionOf> | undefined {
  if (!hasDefaults(flags)) return undefined;
  const form: Form = {};
  fillForm(form, flags);
  return definitionOf(form);
}
