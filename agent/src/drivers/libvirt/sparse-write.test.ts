/** What is written to a sparse stream of libvirt: all of it and no more, and nothing of it is kept in memory. */
import { Duplex } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { writeSparse } from './sparse-write.ts';
import type { SparseStream } from './stream.ts';

const MIB = 2 ** 20;
class Fake extends Duplex implements SparseStream {
  bytes = 0;
  hole = async (bytes: number): Promise<void> => void (this.bytes += bytes);
  override _read(): void {}
  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.bytes += chunk.length;
    done();
  }
}
const stream = (): Fake => {
  const fake = new Fake();
  fake.on('error', () => undefined);
  return fake;
};
async function* pieces(...all: Piece[]): AsyncGenerator<Piece> {
  yield* all;
}

it('is as much as was said', async () => {
  const good = stream();
  await writeSparse(good, pieces(MIB, Buffer.alloc(512), MIB), 2 * MIB + 512);
  expect([good.bytes, good.writableFinished]).toEqual([2 * MIB + 512, true]);
  const cut = stream();
  await expect(writeSparse(cut, pieces(MIB), 2 * MIB)).rejects.toThrow('1048576 of 2097152 bytes');
  const longer = stream();
  await expect(writeSparse(longer, pieces(MIB, MIB, MIB), 2 * MIB)).rejects.toThrow('more than 2097152 bytes');
  expect([cut.destroyed, longer.destroyed, longer.bytes]).toEqual([true, true, 2 * MIB]);
});

it('ends when libvirt gives it up, also while nothing is taken any more', async () => {
  const broken = stream();
  broken.hole = () => {
    setImmediate(() => broken.destroy(new Error('no room')));
    return new Promise(() => undefined);
  };
  await expect(writeSparse(broken, pieces(MIB), MIB)).rejects.toThrow('no room');
});

it('takes no more memory for a large disk than for a small one', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const MANY = 200_000;
  const used = async (): Promise<number> => {
    let most = 0;
    async function* many(): AsyncGenerator<Piece> {
      for (let i = 0; i < MANY; i++) yield 65_536;
      collect();
      most = process.memoryUsage().heapUsed;
    }
    collect();
    const before = process.memoryUsage().heapUsed;
    await writeSparse(stream(), many(), MANY * 65_536);
    return most - before;
  };
  await used();
  expect((await used()) / MIB).toBeLessThan(10);
});
