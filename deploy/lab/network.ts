/**
 * The network of one lab. Its hosts have fixed addresses, so that a host which was cut off or rebooted comes back as who it
 * was; Docker grants fixed addresses only where the subnet was asked for, so its own choice is asked for again.
 */
import type { Docker } from './engine.ts';
import { LAB_LABEL, labFilter, statusOf, tolerate } from './engine.ts';

export interface LabNetwork {
  readonly name: string;
  /** The address of host number `index`, counted from 0. */
  addressOf(index: number): string;
}

export const networkName = (label: string): string => `berth-${label}`;

export async function createNetwork(docker: Docker, label: string): Promise<LabNetwork> {
  for (let attempt = 1; ; attempt++) {
    try {
      const subnet = await freeSubnet(docker, label);
      const name = networkName(label);
      await docker.createNetwork({
        Name: name,
        CheckDuplicate: true,
        Labels: { [LAB_LABEL]: label },
        IPAM: { Driver: 'default', Config: [{ Subnet: subnet, Gateway: addressIn(subnet, 1) }] },
      });
      return { name, addressOf: (index) => hostAddress(subnet, index) };
    } catch (error) {
      // Between asking and taking, another lab may have taken the subnet.
      const overlap = error instanceof Error && /overlap/i.test(error.message);
      if (!overlap || attempt === 5 || statusOf(error) === 409) throw error;
    }
  }
}

export async function removeNetworks(docker: Docker, label?: string): Promise<number> {
  const networks = await docker.listNetworks({ filters: labFilter(label) });
  for (const { Id } of networks) await tolerate([404], () => docker.getNetwork(Id).remove());
  return networks.length;
}

/** `172.19.0.0/16` and 0 → `172.19.0.10`. The first one is this machine's own. */
export const hostAddress = (subnet: string, index: number): string => addressIn(subnet, 10 + index);

function addressIn(subnet: string, number: number): string {
  const octets = subnet.replace(/\/.*/, '').split('.').map(Number);
  const base = octets.reduce((sum, octet) => sum * 256 + octet, 0) + number;
  return [24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256).join('.');
}

async function freeSubnet(docker: Docker, label: string): Promise<string> {
  const probe = await docker.createNetwork({ Name: `berth-${label}-probe`, Labels: { [LAB_LABEL]: label } });
  try {
    const { IPAM } = (await probe.inspect()) as { IPAM?: { Config?: { Subnet?: string }[] } };
    const subnet = IPAM?.Config?.find((config) => config.Subnet?.includes('.'))?.Subnet;
    if (subnet === undefined) throw new Error('the Docker engine gave no IPv4 subnet to the lab network');
    return subnet;
  } finally {
    await probe.remove();
  }
}
