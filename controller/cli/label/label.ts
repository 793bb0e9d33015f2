/** berth vm label, host label, volume label: key=value sets, key- removes. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';
import type { Command } from '../core/command.ts';
import { print } from '../core/context.ts';

export interface Change {
  readonly set: Record<string, string>;
  readonly remove: string[];
}

export function parseChanges(words: readonly string[]): Change {
  const change: Change = { set: {}, remove: [] };
  for (const word of words) {
    const cut = word.indexOf('=');
    if (cut > 0) change.set[word.slice(0, cut)] = word.slice(cut + 1);
    else if (word.endsWith('-') && word.length > 1) change.remove.push(word.slice(0, -1));
    else throw invalidArgument(`${word} changes no label: write key=value to set one, key- to remove one`);
  }
  return change;
}

const words = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([k, v]) => `${k}=${v}`)
    .join(' ') || 'no labels';

const label = (
  noun: 'vm' | 'host' | 'volume',
  change: (api: Api, name: string, c: Change) => Promise<Readonly<Record<string, string>>>,
): Command => ({
  noun,
  verb: 'label',
  summary: 'set and remove labels: key=value key-',
  details:
    'Labels choose in lists (-l team=a), and in the roles of users: berth user grant ann operator --selector team=a',
  args: [
    { name: noun, description: 'which one', required: true, kind: noun },
    { name: 'changes', description: 'key=value to set, key- to remove', required: true, many: true },
  ],
  flags: [],
  async run(ctx, [name = '', ...changes]) {
    print(ctx, `${noun} ${name}: ${words(await change(await ctx.api(), name, parseChanges(changes)))}`);
  },
});

export const vmLabel = label('vm', async (api, vm, c) => {
  const now = await api.call(api.vms, (client) => client.labelVm, { vm, ...c });
  return now.spec?.labels ?? {};
});
export const hostLabel = label('host', async (api, host, c) => {
  const now = await api.call(api.hosts, (client) => client.labelHost, { host, ...c });
  return now.labels;
});
export const volumeLabel = label('volume', async (api, volume, c) => {
  const now = await api.call(api.volumes, (client) => client.labelVolume, { volume, ...c });
  return now.labels;
});
