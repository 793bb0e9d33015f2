/** From wire enums to the words people read: VM_STATE_RUNNING is "running". */
import { HostState } from '@berth/proto/v1/host.ts';
import { ImageState } from '@berth/proto/v1/image.ts';
import { JobState, StepState } from '@berth/proto/v1/job.ts';
import { VmState } from '@berth/proto/v1/vm.ts';

const word =
  (names: Readonly<Record<number, string>>) =>
  (v: number): string =>
    (names[v] ?? 'unknown').toLowerCase().replaceAll('_', '-');

export const vmStateWord = word(VmState);
export const hostStateWord = word(HostState);
export const imageStateWord = word(ImageState);
export const jobStateWord = word(JobState);
export const stepStateWord = word(StepState);

export const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** ISO time in the operator's zone, to the second. */
export const time = (ms: bigint | number): string => {
  const d = new Date(Number(ms));
  const two = (n: number) => String(n).padStart(2, '0');
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
};

/** sha256:9f2c…e1 */
export const shortDigest = (digest: string): string =>
  digest === '' ? '' : digest.replace(/^(sha256:)?([0-9a-f]{4})[0-9a-f]+([0-9a-f]{2})$/, '$1$2…$3');
