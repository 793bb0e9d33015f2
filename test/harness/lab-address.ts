/** Where the controller of a lab test listens: this machine's own address in the lab's network. */
import { docker } from '@berth/deploy/lab/engine.ts';
import type { Lab } from '@berth/deploy/lab/lab.ts';

export async function machineAddress(lab: Lab): Promise<string> {
  const network = (await docker()).getNetwork(`berth-${lab.label}`);
  const { IPAM } = (await network.inspect()) as { IPAM?: { Config?: { Gateway?: string }[] } };
  const gateway = IPAM?.Config?.find((config) => config.Gateway)?.Gateway?.split('/')[0];
  if (gateway === undefined) throw new Error(`the network of lab ${lab.label} has no gateway`);
  return gateway;
}
