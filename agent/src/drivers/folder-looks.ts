/**
 * Looks at folders of others' storage (a mount of NFS, a network disk) from within this process. A server that is gone keeps whoever
 * asks in the kernel, and with it one of the few threads that all files of the agent are read with. So one look at a time goes into a
 * folder, with a deadline; nothing more goes there until it is answered; and of all folders together so few may hang that threads are
 * left for everything else. What is asked of libvirt has lanes of its own (drivers/libvirt/storage-lane.ts).
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';

const LOOK_MS = 10_000;

interface Folder {
  tail: Promise<unknown>;
  waiting: number;
  /** A look is out that has passed its deadline. */
  hangs: boolean;
}

export interface FolderLooksOptions {
  readonly clock: Pick<Clock, 'after'>;
  /** Of each look, and of its wait for those before it. */
  readonly deadlineMs?: number;
  /** Folders at a time: a part of all threads. */
  readonly mostHanging: number;
}

export class FolderLooks {
  readonly #folders = new Map<string, Folder>();

  constructor(private readonly o: FolderLooksOptions) {}

  /**
   * @param folder whose storage is asked; looks at one come one after the other
   * @throws STORAGE_UNAVAILABLE at the deadline, and at once while an earlier look hangs
   */
  async look<T>(folder: string, fn: () => Promise<T>): Promise<T> {
    const at = this.#folders.get(folder) ?? { tail: Promise.resolve(), waiting: 0, hangs: false };
    this.#refuse(folder, at);
    this.#folders.set(folder, at);
    at.waiting++;
    const late = new AbortController();
    const answer = at.tail.then(() => {
      late.signal.throwIfAborted(); // nobody waits for it any more
      this.#refuse(folder, at);
      return fn();
    });
    const ended = (): void => {
      at.hangs = false;
      if (--at.waiting === 0) this.#folders.delete(folder);
    };
    at.tail = answer.then(ended, ended);
    return this.#inTime(answer, () => {
      at.hangs = true;
      const e = silent(folder);
      late.abort(e);
      return e;
    });
  }

  #inTime<T>(answer: Promise<T>, late: () => Error): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = this.o.clock.after(this.o.deadlineMs ?? LOOK_MS, () => reject(late()));
      const ended = (): void => timer.cancel();
      answer.then(ended, ended);
      answer.then(resolve, reject);
    });
  }

  #refuse(folder: string, at: Folder): void {
    if (at.hangs) throw silent(folder);
    const hanging = [...this.#folders].flatMap(([name, f]) => (f.hangs ? [name] : []));
    if (hanging.length < this.o.mostHanging) return;
    const why = `${folder} is not looked at while the storage of ${hanging.join(', ')} does not answer: too many looks hang`;
    throw new ClusterError('STORAGE_UNAVAILABLE', why);
  }
}

const silent = (folder: string): ClusterError =>
  new ClusterError('STORAGE_UNAVAILABLE', `the storage of ${folder} does not answer`);
