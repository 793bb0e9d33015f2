/** So that the same command finishes what it could not finish before: of many VMs, those that exist are left alone. */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';

/** Makes one of the VMs `names`. When it is there, made from the same image, there is nothing to do; one name alone must be new. */
export async function unlessThere(
  api: Api,
  names: readonly string[],
  wanted: { readonly name: string; readonly image: string },
  make: () => Promise<{ readonly jobId: string }>,
): Promise<{ readonly jobId: string }> {
  try {
    return await make();
  } catch (e) {
    if (names.length === 1 || !isClusterError(e, 'ALREADY_EXISTS')) throw e;
    const vm = await api.call(api.vms, (c) => c.getVm, { vm: wanted.name });
    if (vm.spec?.disks[0]?.image !== wanted.image) throw e;
    return { jobId: '' };
  }
}
