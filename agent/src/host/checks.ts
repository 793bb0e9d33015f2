/** Everything that is checked of this host, anew: the lines of `berth-agent check`, of the report and of `berth host check`. */
import type { HostCheck } from '@berth/shared/model/host.ts';
import type { Drivers } from '../drivers/machine.ts';
import { versionChecks } from './version-checks.ts';

type Asked = Pick<Drivers, 'machine'> & { readonly hypervisor: Pick<Drivers['hypervisor'], 'info'> };

/** @param others names under which other hosts are known; asks the host's resolver for them and for its own. */
export async function checkHost(
  { machine, hypervisor }: Asked,
  others: readonly string[],
): Promise<readonly HostCheck[]> {
  const [checks, names, info] = await Promise.all([
    machine.checks(),
    machine.nameChecks(others),
    hypervisor.info().catch(() => undefined),
  ]);
  return [...checks, ...versionChecks(info), ...names];
}
