/**
 * Job vm.customize: files of a guest that is off are changed by its host, all or none. Not undone: what a guest was told, it may
 * have acted upon. The address that its first card got is noted, as of one that was made with it.
 */
import type { HostId } from '@berth/shared/model/ids.ts';
import type { VmNic } from '@berth/shared/model/vm.ts';
import type { CustomizeWanted } from '../hosts/agent-client.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait } from './engine/define.ts';
import { getVm } from './making.ts';
import { nicsWanted, systemDisk } from './offline-identity.ts';
import { known, settle } from './operate.ts';
import { hostOfVm, type VmParams } from './vm-start.ts';

export interface CustomizeParams extends VmParams {
  readonly actions: CustomizeWanted['actions'];
  /** Of the first card; an empty address: DHCP. */
  readonly network?: {
    readonly mac: string;
    readonly address: string;
    readonly gateway: string;
    readonly dns: string[];
  };
}

const host = (c: { readonly outs: { readonly find: { readonly hostId: HostId } } }): HostId => c.outs.find.hostId;

export const vmCustomize = defineJob<CustomizeParams, JobDeps>('vm.customize', 1)
  .local('find', { run: ({ tables, params }) => ({ hostId: hostOfVm(getVm(tables, params.vmId)) }) })
  .remote('change', {
    host,
    async run(c) {
      const vm = getVm(c.tables, c.params.vmId);
      const { actions, network } = c.params;
      const nics = network ? nicsWanted({ nics: vm.spec.nics.map((n) => renumbered(n, network)) }) : [];
      const volumeId = systemDisk(vm.spec)?.volumeId ?? '';
      const wanted = { volumeId, domainUuid: vm.uuid, actions: { ...actions, nics } };
      const agent = c.deps.hosts.agent(host(c));
      const ask = known(agent, c.opId, () => agent.customizeVolume(c.opId, wanted), c.notes);
      const op = await settle(c, ask, 'changing the guest');
      return Wait.is(op) ? op : { what: op.detail ?? '' };
    },
    describe: (out) => out.what,
  })
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const vm = getVm(tables, params.vmId);
      const { network } = params;
      if (network) {
        const nics = vm.spec.nics.map((n) => renumbered(n, network));
        tx.vms.put({ ...vm, spec: { ...vm.spec, nics }, generation: vm.generation + 1 });
      }
      const message = `the guest of vm ${vm.name} was changed: ${outs.change.what || 'as asked'}`;
      tx.event({ type: 'vm.customized', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
  })
  .build();

function renumbered(n: VmNic, network: NonNullable<CustomizeParams['network']>): VmNic {
  if (n.mac !== network.mac) return n;
  const { address, gateway, dns } = network;
  return { ...n, address: address || undefined, gateway: gateway || undefined, dns };
}
