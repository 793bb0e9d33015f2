/** Shell completion: a small script for the shell that asks `berth completion words` what fits, names of objects included. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Command, ObjectKind } from '../core/command.ts';
import { print, type Context } from '../core/context.ts';
import type { Image } from '@berth/proto/v1/image.ts';
import { familyOf, LATEST } from '@berth/shared/model/image-name.ts';
import { candidates } from './candidates.ts';
import { SCRIPTS } from './scripts.ts';

export const completion: Command = {
  verb: 'completion',
  summary: 'print the completion script for bash, zsh or fish',
  details: `Add to your shell's start-up file:
  bash:  source <(berth completion bash)
  zsh:   source <(berth completion zsh)
  fish:  berth completion fish | source
Packages have installed it already.`,
  args: [
    { name: 'shell', description: 'bash, zsh or fish', required: true, choices: Object.keys(SCRIPTS) },
    { name: 'words', description: 'used by the scripts', required: false, many: true },
  ],
  flags: [],
  async run(ctx, [shell = '']) {
    const script = SCRIPTS[shell as keyof typeof SCRIPTS];
    if (script === undefined) throw invalidArgument(`no completion for ${shell}; there is one for bash, zsh and fish`);
    print(ctx, script.trimEnd());
  },
};

/** Answers the scripts; main.ts calls it before any parsing, because half-typed words are no valid command line. */
export async function complete(
  ctx: Context,
  commands: readonly Command[],
  nouns: readonly string[],
  words: readonly string[],
): Promise<void> {
  const found = candidates(commands, nouns, words);
  if (found.kind === 'file') print(ctx, ':files');
  else {
    const all = [...found.words, ...(found.kind ? await names(ctx, found.kind, found.of) : [])];
    all.forEach((word) => print(ctx, `${found.prefix ?? ''}${word}`));
  }
}

/** Its name with its version, its tags, and its name alone. */
const imageNames = (i: Pick<Image, 'name' | 'tags'>): string[] => {
  const family = familyOf(i.name);
  return [i.name, ...i.tags.map((t) => `${family}:${t}`), ...(i.tags.includes(LATEST) ? [family] : [])];
};

async function names(ctx: Context, kind: ObjectKind, of = ''): Promise<string[]> {
  if (kind === 'context') return Object.keys(ctx.config.load().contexts);
  const api = await ctx.api();
  const page = { pageSize: 1000, pageToken: '' };
  switch (kind) {
    case 'vm':
      return (await api.call(api.vms, (c) => c.listVms, { page, host: '' })).vms.map((v) => v.name);
    case 'host':
      return (await api.call(api.hosts, (c) => c.listHosts, { page })).hosts.map((h) => h.name);
    case 'image':
      return (await api.call(api.images, (c) => c.listImages, { page })).images.flatMap(imageNames);
    case 'volume': {
      const asked = { page, host: '', selector: '', pool: '', alone: false };
      return (await api.call(api.volumes, (c) => c.listVolumes, asked)).volumes.map((v) => v.name);
    }
    case 'pool':
      return (await api.call(api.pools, (c) => c.listPools, { page, foreign: false })).pools.map((p) => p.name);
    case 'network':
      return (await api.call(api.networks, (c) => c.listNetworks, { page, foreign: false })).networks.map(
        (n) => n.name,
      );
    case 'snapshot':
      if (of === '') return [];
      return (await api.call(api.snapshots, (c) => c.listSnapshots, { vm: of })).snapshots.map((s) => s.name);
    case 'job':
      return (await api.call(api.jobs, (c) => c.listJobs, { page, openOnly: false })).jobs.map((j) => j.id);
    case 'token':
      return (await api.call(api.tokens, (c) => c.listTokens, { user: '' })).tokens.map((t) => t.id);
    case 'user':
      return (await api.call(api.users, (c) => c.listUsers, { page })).users.map((u) => u.name);
    default:
      return [];
  }
}
