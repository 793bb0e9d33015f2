/** A picture of a guest's screen, whole and as PNG. Bounded, and only a few at a time: each lies in memory for a moment. */
import type { Readable } from 'node:stream';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { Turns } from '@berth/shared/runtime/turns.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { DomainRef, Domains } from './domains.ts';
import { toPng } from './png.ts';

/** A screen of 5120 by 2880, uncompressed, and some more. */
export const LARGEST_PICTURE_BYTES = 64 * 2 ** 20;
const AT_ONCE = 2;

export class Screenshots {
  private readonly turns = new Turns(AT_ONCE);

  constructor(
    private readonly deps: {
      readonly domains: Pick<Domains, 'need'>;
      readonly hypervisor: Pick<Hypervisor, 'screenshot'>;
    },
  ) {}

  /** @throws BAD_STATE when the guest is off, or has no screen. @param signal aborted when nobody waits any more. */
  async take(ref: DomainRef, signal: AbortSignal): Promise<Buffer> {
    const release = await this.turns.take(signal);
    try {
      const { name, power } = await this.deps.domains.need(ref);
      if (power === 'stopped' || power === 'crashed') throw badState(`vm ${name} is ${power}: it shows nothing`);
      return await toPng(await readAll(await this.deps.hypervisor.screenshot(ref.uuid), name, signal));
    } finally {
      release();
    }
  }
}

async function readAll(picture: Readable, name: string, signal: AbortSignal): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  const stop = (): void => void picture.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const part of picture as AsyncIterable<Buffer>) {
      bytes += part.length;
      if (bytes > LARGEST_PICTURE_BYTES)
        throw new ClusterError('UNSUPPORTED', `the screen of vm ${name} is too large for a picture`);
      parts.push(part);
    }
    if (signal.aborted) throw new ClusterError('CANCELLED', 'the caller went away');
    return Buffer.concat(parts);
  } finally {
    signal.removeEventListener('abort', stop);
    picture.destroy();
  }
}
