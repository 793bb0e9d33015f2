/** What a fake host has: its domains, volumes and images as plain records, and the parts of a host that no job asks for. */
import type { AgentClient } from '@berth/controller/hosts/agent-client.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { DomainDefinition } from '@berth/shared/hardware/domain.ts';
import type { VmPower } from '@berth/shared/model/vm.ts';

export interface FakeDomain {
  readonly wanted: DomainDefinition;
  readonly power: VmPower;
  readonly reason?: string;
}

export interface FakeVolume {
  readonly vmId: string;
  readonly sizeBytes: number;
  readonly imageDigest: string | undefined;
  readonly seed: boolean;
}

export interface FakeImage {
  readonly virtualSizeBytes: number;
  readonly fileBytes: number;
}

export const unasked = (): never => {
  throw new ClusterError('UNSUPPORTED', 'this host has no machine');
};
export const noMachine: AgentClient['machine'] = {
  check: async () => unasked(),
  inventory: async () => unasked(),
  tuning: async () => unasked(),
};
export const noLogs: AgentClient['logs'] = { read: unasked, configuration: async () => unasked() };
