import { describe, expect, it } from 'vitest';
import { ByteQueue } from './byte-queue.ts';

describe('a queue of bytes', () => {
  it('gives exactly as many as are asked for, however they come', async () => {
    const queue = new ByteQueue();
    queue.push(Buffer.from('abc'));
    const target = Buffer.alloc(5);
    const reading = queue.readInto(target);
    queue.push(Buffer.from('d'));
    queue.take(Buffer.from('efgh'));
    queue.push(Buffer.from('ij'));
    await reading;
    expect([target.toString(), queue.size]).toEqual(['abcde', 5]);
    expect((await queue.read(5)).toString()).toBe('fghij');
  });

  it('keeps nothing of a buffer that is used again', async () => {
    const queue = new ByteQueue();
    const buffer = Buffer.from('abcd');
    const first = queue.read(2);
    queue.take(buffer);
    buffer.fill('x');
    expect((await first).toString()).toBe('ab');
    expect((await queue.read(2)).toString()).toBe('cd');
  });

  it('writes nothing more into what somebody waited for when it failed', async () => {
    const queue = new ByteQueue();
    const target = Buffer.alloc(4);
    const reading = queue.readInto(target);
    queue.take(Buffer.from('ab'));
    queue.fail(new Error('gone'));
    queue.take(Buffer.from('cd'));
    await expect(reading).rejects.toThrow('gone');
    expect(target).toEqual(Buffer.from('ab\0\0'));
  });

  it('gives what came before it failed, and fails then', async () => {
    const queue = new ByteQueue();
    queue.push(Buffer.from('abc'));
    queue.fail(new Error('gone'));
    expect((await queue.read(2)).toString()).toBe('ab');
    await expect(queue.read(2)).rejects.toThrow('gone');
  });
});
