/** Shell completion: a small script for the shell that asks `berth completion words` what fits, names of objects included. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Command, ObjectKind } from '../core/command.ts';
import { print, type Context } from '../core/context.ts';
import type { Image } from '@berth/proto/v1/image.ts';
import { familyOf, LATEST } from '@berth/shared/model/image-name.ts';
import { candidates } from './candidates.ts';

const BASH = `_berth() {
  local IFS=$'\\n'
  local words
  local line="\${COMP_LINE:0:COMP_POINT}" typed=() cur
  IFS=$' \\t' read -ra typed <<< "$line"
  [[ "$line" == *[[:space:]] ]] && typed+=("")
  cur="\${typed[-1]}"
  words=$(berth completion words "\${typed[@]:1}" 2>/dev/null) || return
  if [ "$words" = ":files" ]; then compopt -o default; COMPREPLY=(); return; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  case "$cur" in *:*) COMPREPLY=("\${COMPREPLY[@]#"\${cur%"\${cur##*:}"}"}") ;; esac
}
complete -F _berth berth`;

const ZSH = `#compdef berth
_berth() {
  local -a found
  found=("\${(@f)$(berth completion words "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ "$found" == ":files" ]]; then _files; else compadd -- $found; fi
}
compdef _berth berth`;

export const completion: Command = {
  verb: 'completion',
  summary: 'print the completion script for bash or zsh',
  details: `Add to your shell's start-up file:
  bash:  source <(berth completion bash)
  zsh:   source <(berth completion zsh)`,
  args: [
    { name: 'shell', description: 'bash or zsh', required: true, choices: ['bash', 'zsh'] },
    { name: 'words', description: 'used by the scripts', required: false, many: true },
  ],
  flags: [],
  async run(ctx, [shell = '']) {
    if (shell === 'bash') print(ctx, BASH);
    else if (shell === 'zsh') print(ctx, ZSH);
    else throw invalidArgument(`no completion for ${shell}; there is one for bash and for zsh`);
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
  else [...found.words, ...(found.kind ? await names(ctx, found.kind) : [])].forEach((w) => print(ctx, w));
}

/** Its name with its version, its tags, and its name alone. */
const imageNames = (i: Pick<Image, 'name' | 'tags'>): string[] => {
  const family = familyOf(i.name);
  return [i.name, ...i.tags.map((t) => `${family}:${t}`), ...(i.tags.includes(LATEST) ? [family] : [])];
};

async function names(ctx: Context, kind: ObjectKind): Promise<string[]> {
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
      const asked = { page, host: '', selector: '', alone: false };
      return (await api.call(api.volumes, (c) => c.listVolumes, asked)).volumes.map((v) => v.name);
    }
    case 'pool':
      return (await api.call(api.pools, (c) => c.listPools, { page, foreign: false })).pools.map((p) => p.name);
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
