/** berth vm ssh: the person's own ssh, to the address that is known of a VM. */
import { VmState, type Vm } from '@berth/proto/v1/vm.ts';
import { badState, invalidArgument, isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';
import { text, type Command } from '../core/command.ts';
import { runProgram } from '../core/programs.ts';
import { vmStateWord } from '../core/words.ts';
import { addressOf } from './address.ts';

export const vmSsh: Command = {
  noun: 'vm',
  verb: 'ssh',
  summary: 'log in to a VM with your own ssh, or run a command there',
  details:
    'berth vm ssh web\nberth vm ssh web -l root -- systemctl status nginx\n\n' +
    "Keys and settings are those of ssh. Host keys are remembered by the VM's id, not by its address, which another VM may get.",
  args: [
    { name: 'vm', description: 'the VM', required: true, kind: 'vm' },
    { name: 'command', description: 'what to run there, after --', required: false, many: true },
  ],
  repeats: true,
  flags: [
    { spec: '-l, --login <user>', description: 'log in as this user' },
    { spec: '-p, --port <port>', description: 'port of its sshd (22)' },
    { spec: '-i, --identity <file>', description: 'private key to log in with', kind: 'file' },
    {
      spec: '--via <host>',
      description: 'go through this host of the cluster, or any machine that ssh knows',
      kind: 'host',
    },
  ],
  async run(ctx, [name = '', ...command], flags) {
    const port = text(flags, 'port');
    if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) < 65_536))
      throw invalidArgument(`--port ${port} is not a port`);
    const api = await ctx.api();
    const vm = await api.call(api.vms, (c) => c.getVm, { vm: name });
    const via = text(flags, 'via');
    const options = {
      ...{ login: text(flags, 'login'), identity: text(flags, 'identity'), port },
      via: via === undefined ? undefined : await jumpHost(api, via),
    };
    const args = sshArguments(vm, options, command);
    const code = await runProgram('ssh', args, 'install it: apt-get install openssh-client');
    if (code !== 0) ctx.fail(code);
  },
};

export interface SshOptions {
  readonly login: string | undefined;
  readonly port: string | undefined;
  readonly identity: string | undefined;
  readonly via: string | undefined;
}

/** @throws BAD_STATE when it is off; NOT_FOUND when no address is known. */
export function sshArguments(vm: Vm, o: SshOptions, command: readonly string[]): string[] {
  if (vm.state !== VmState.RUNNING && vm.state !== VmState.UNKNOWN) throw badState(whyOff(vm));
  const address = addressOf(vm);
  if (address === undefined)
    throw notFound(
      `no address of vm ${vm.name} is known: it was made without one (--ip), and no guest agent in it tells. ` +
        `Its console works without: berth vm console ${vm.name}`,
    );
  const given = ([flag, value]: readonly [string, string | undefined]): string[] =>
    value === undefined ? [] : [flag, value];
  return [
    ...['-o', `HostKeyAlias=${vm.id}`, '-o', 'CheckHostIP=no'],
    ...(
      [
        ['-l', o.login],
        ['-p', o.port],
        ['-i', o.identity],
        ['-J', o.via],
      ] as const
    ).flatMap(given),
    ...['--', address, ...command],
  ];
}

function whyOff(vm: Vm): string {
  const state = vmStateWord(vm.state);
  const advice =
    vm.state === VmState.PAUSED
      ? `Let it go on first (berth vm resume ${vm.name}).`
      : vm.state === VmState.STARTING
        ? 'Wait until it runs.'
        : `Start it first (berth vm start ${vm.name}).`;
  return `vm ${vm.name} is ${state}. ${advice}`;
}

/** Of a host of the cluster its address; anything else is left to ssh. */
async function jumpHost(api: Api, via: string): Promise<string> {
  const [, user = '', name = via] = /^([^@]+@)(.*)$/.exec(via) ?? [];
  try {
    const { address } = await api.call(api.hosts, (c) => c.getHost, { host: name });
    return `${user}${address.replace(/:\d+$/, '')}`;
  } catch (e) {
    if (isClusterError(e, 'NOT_FOUND', 'PERMISSION_DENIED', 'INVALID_ARGUMENT')) return via;
    throw e;
  }
}
