/** berth vm attach, detach: disks and network cards that come and go, at once where the VM runs. */
import { UpdateVmRequest } from '@berth/proto/v1/vm.ts';
import { invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';
import { NO_WAIT, text, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';
import { AS, attachDisk, BUS, detachDisk, FORCE } from '../volume/attach.ts';
import { changed } from './set.ts';

const KIND = { name: 'kind', description: 'disk or nic', required: true, choices: ['disk', 'nic'] } as const;

export const vmAttach: Command = {
  noun: 'vm',
  verb: 'attach',
  summary: 'give a VM a disk or a network card, at once when it runs',
  details: `Examples:
  berth vm attach web disk data
  berth vm attach web nic br1 --model e1000
  berth vm attach web nic network=lan`,
  args: [
    { name: 'vm', description: 'who gets it', required: true, kind: 'vm' },
    KIND,
    { name: 'what', description: 'a volume that stands alone, or a bridge or network=NAME', required: true },
  ],
  flags: [
    BUS,
    AS,
    { spec: '--mac <mac>', description: 'of the card (default: a free one)' },
    { spec: '--model <model>', description: 'of the card (default virtio)' },
    NO_WAIT,
  ],
  async run(ctx, [vm = '', kind, what = ''], flags) {
    if (kind === 'disk') return attachDisk(ctx, vm, what, flags);
    if (kind !== 'nic') throw invalidArgument(`${kind}: what can be attached is a disk or a nic`);
    const card = { ...plug(what), mac: text(flags, 'mac') ?? '', model: text(flags, 'model') ?? '' };
    await runMany(ctx, {
      ...{ noun: 'vm', names: [vm], wait: flags['wait'] !== false },
      start: (api, name) => withNics(api, name, (nics) => [...nics, card]),
      done: (api, name, job) => changed(api, name, job !== undefined),
    });
  },
};

export const vmDetach: Command = {
  noun: 'vm',
  verb: 'detach',
  summary: 'take a disk or a network card from a VM',
  details: `A disk stands alone afterwards, as volume VM-TARGET. Examples:
  berth vm detach web disk vdb
  berth vm detach web nic 52:54:00:12:34:56`,
  args: [
    { name: 'vm', description: 'from whom', required: true, kind: 'vm' },
    KIND,
    { name: 'what', description: 'target of a disk, or MAC address of a card', required: true },
  ],
  flags: [
    { spec: '--name <name>', description: 'what the volume shall be called (default: VM-TARGET)' },
    FORCE,
    NO_WAIT,
  ],
  async run(ctx, [vm = '', kind, what = ''], flags) {
    if (kind === 'disk') return detachDisk(ctx, `${vm}/${what}`, flags);
    if (kind !== 'nic') throw invalidArgument(`${kind}: what can be detached is a disk or a nic`);
    const mac = what.toLowerCase();
    await runMany(ctx, {
      ...{ noun: 'vm', names: [vm], wait: flags['wait'] !== false },
      start: (api, name) =>
        withNics(api, name, (nics) => {
          if (nics.some((n) => n.mac === mac)) return nics.filter((n) => n.mac !== mac);
          throw notFound(
            `vm ${name} has no network card ${what}: it has ${nics.map((n) => n.mac).join(', ') || 'none'}`,
          );
        }),
      done: (api, name, job) => changed(api, name, job !== undefined),
    });
  },
};

/** `br1`, `bridge=br1` or `network=lan`. */
function plug(what: string): Pick<Card, 'bridge' | 'network'> {
  const [, field = 'bridge', name = ''] = /^(?:(bridge|network)=)?(.*)$/s.exec(what) ?? [];
  if (name === '' || name.includes('='))
    throw invalidArgument(`${what}: name a bridge (br1) or a network (network=lan)`);
  return field === 'network' ? { bridge: '', network: name } : { bridge: name };
}

interface Card {
  readonly mac: string;
  readonly bridge: string;
  readonly network?: string | undefined;
  readonly model: string;
}

async function withNics(api: Api, vm: string, change: (nics: readonly Card[]) => readonly Card[]) {
  const { name, spec, generation } = await api.call(api.vms, (c) => c.getVm, { vm });
  const nics = [...change(spec?.nics ?? [])];
  const request = { vm: name, generation, spec: { ...spec, nics } };
  return api.call(api.vms, (c) => c.updateVm, UpdateVmRequest.fromPartial(request));
}
