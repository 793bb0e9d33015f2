/** berth vm edit: a VM's definition in the person's editor, checked, shown as a difference, and asked about. */
import type { Vm } from '@berth/proto/v1/vm.ts';
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { parseDocuments } from '@berth/shared/yaml/documents.ts';
import { stringify } from 'yaml';
import type { Api } from '../core/api.ts';
import { NO_WAIT, yes, type Command } from '../core/command.ts';
import { editorCommand } from '../core/config.ts';
import { note, print, type Context } from '../core/context.ts';
import { confirm } from '../core/confirm.ts';
import { carryOut, located } from '../manifest/apply.ts';
import type { Plan } from '../manifest/kind.ts';
import { readDocuments } from '../manifest/read.ts';
import { planLines } from '../manifest/show.ts';
import { planUpdate, type VmDocument } from '../manifest/vm-kind.ts';
import { vmView } from './view.ts';
import { vmDocument } from './document.ts';
import { edit, needTerminal, newDraft, type Draft } from './editor.ts';

export const vmEdit: Command = {
  noun: 'vm',
  verb: 'edit',
  summary: "change a VM's definition in an editor ($VISUAL, $EDITOR or vi)",
  args: [{ name: 'vm', description: 'which one', required: true, kind: 'vm' }],
  flags: [{ spec: '-y, --yes', description: 'do not ask' }, NO_WAIT],
  async run(ctx, [name = ''], flags) {
    needTerminal(editorCommand(), ctx);
    const api = await ctx.api();
    const vm = await api.call(api.vms, (c) => c.getVm, { vm: name });
    const text = `${HEAD.replaceAll('{name}', vm.name)}${stringify(vmDocument(vmView(vm)))}`;
    const draft = newDraft(`${vm.name}.yaml`, text);
    const plan = await edited(ctx, api, { vm, draft, text });
    if (plan === undefined) return draft.forget();
    for (const line of planLines(plan)) print(ctx, line);
    if (!yes(flags, 'yes') && !(await confirm(ctx, 'Make it so?'))) return keep(ctx, draft, 'Nothing was changed.');
    try {
      await carryOut(ctx, [plan], flags['wait'] !== false);
    } catch (e) {
      keep(ctx, draft, '');
      throw e;
    }
    draft.forget();
  },
};

const HEAD = `# The definition of vm {name}. What you leave out is the default. An empty file changes nothing.
# What is below status is only for you to know.
`;
const FAULT = '#! ';

const keep = (ctx: Context, { path }: Draft, words: string): void =>
  note(ctx, `${words === '' ? '' : `${words} `}What you wrote is kept: berth apply -f ${path}`);

interface Editing {
  readonly vm: Vm;
  readonly draft: Draft;
  readonly text: string;
}

/** Opened again with what is wrong until nothing is. Undefined: nothing is to be changed. */
async function edited(ctx: Context, api: Api, { vm, draft, text }: Editing): Promise<Plan | undefined> {
  let before = text;
  for (;;) {
    await edit(editorCommand(), draft.path);
    const now = draft.read();
    if (now.split('\n').every((l) => l.trim() === '' || l.startsWith('#')))
      return void note(ctx, 'Nothing was changed.');
    const again = now === before;
    const plan = await planned(api, vm, now);
    if (!Array.isArray(plan) && plan.what === 'nothing') return void note(ctx, 'Nothing was changed.');
    if (!Array.isArray(plan)) return plan;
    if (again || !ctx.stdin.isTTY) {
      keep(ctx, draft, '');
      throw invalidArgument(plan.join('\n'));
    }
    before = withFaults(now, plan);
    draft.write(before);
  }
}

const withFaults = (text: string, faults: readonly string[]): string =>
  [...faults.map((f) => `${FAULT}${f}`), ...text.split('\n').filter((l) => !l.startsWith(FAULT))].join('\n');

/** What it would change, or what is wrong with it. */
async function planned(api: Api, vm: Vm, text: string): Promise<Plan | string[]> {
  // lines of faults are counted without the comments that tell of them
  const clean = text
    .split('\n')
    .filter((l) => !l.startsWith(FAULT))
    .join('\n');
  let source: Parameters<typeof located>[0]['source'] | undefined;
  try {
    const sources = parseDocuments('line', clean).map((d) => ({
      ...d,
      lineOf: (p: never) => d.lineOf(p),
      file: 'line',
    }));
    source = sources[0];
    const [document, more] = readDocuments(sources);
    if (document === undefined || more || document.kind !== 'vm') return ['one document of kind vm is needed here'];
    if (document.name !== vm.name)
      return [`line:1: name: a vm keeps its name (${vm.name}): clone it, or make another one`];
    return await planUpdate(api, document.value as VmDocument, vm);
  } catch (e) {
    if (!isClusterError(e) || ['CONTROLLER_UNREACHABLE', 'UNAUTHENTICATED'].includes(e.reason)) throw e;
    const lines = e.message.split('\n');
    return lines.map((l) => (source && /^\w+ \S+: /.test(l) ? located({ source }, l) : l));
  }
}
