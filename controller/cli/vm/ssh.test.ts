import { describe, expect, it } from 'vitest';
import { Vm, VmState } from '@berth/proto/v1/vm.ts';
import { sshArguments } from './ssh.ts';

const vm = (over: Partial<Vm> = {}, address = '10.0.0.7/24'): Vm =>
  Vm.fromPartial({
    ...{ id: 'vm-1', name: 'web', state: VmState.RUNNING },
    spec: { nics: [{ mac: '', address: '' }, { address }] },
    ...over,
  });
const NONE = { login: undefined, port: undefined, identity: undefined, via: undefined };

describe('the arguments of ssh', () => {
  it('are the address, and a name for its host key that no other VM gets', () => {
    expect(sshArguments(vm(), NONE, [])).toEqual(['-o', 'HostKeyAlias=vm-1', '-o', 'CheckHostIP=no', '--', '10.0.0.7']);
  });

  it('carry what was asked for, and the command after the address', () => {
    const all = { login: 'root', port: '2222', identity: 'k', via: 'me@h1' };
    expect(sshArguments(vm({}, 'fd00::7/64'), all, ['ls', '-la', 'a b']).slice(4)).toEqual([
      ...['-l', 'root', '-p', '2222', '-i', 'k', '-J', 'me@h1', '--', 'fd00::7', 'ls', '-la', 'a b'],
    ]);
  });

  it('are none where no address is known, or the VM is off', () => {
    expect(() => sshArguments(vm({}, ''), NONE, [])).toThrow(/no address of vm web is known.*berth vm console web/);
    expect(() => sshArguments(vm({ state: VmState.STOPPED }), NONE, [])).toThrow(
      'vm web is stopped. Start it first (berth vm start web).',
    );
    expect(() => sshArguments(vm({ state: VmState.PAUSED }), NONE, [])).toThrow(/berth vm resume web/);
  });
});
