/** So that the same command finishes what it could not finish before: of many VMs, those that exist are left alone. */
import { familyOf } from '@berth/shared/model/image-name.ts';
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
    const from = vm.spec?.disks[0]?.image ?? '';
    // a name that moves from version to version asks for none of them
    const moves = from !== '' && !wanted.image.includes(':') && familyOf(from) === wanted.image;
    if (from !== wanted.image && !moves) throw e;
    return { jobId: '' };
  }
}
