/** What the agent itself looks at of the folder of a pool; all of it may hang, and then holds up that pool alone. */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { ioThreads } from '../config.ts';
import { FolderLooks } from '../drivers/folder-looks.ts';
import { takesDirectIo } from '../host/abilities.ts';
import { checkPoolFolder, checkPoolPath } from './pool-path.ts';
import type { PoolSpec } from './pool-spec.ts';
import type { PoolLooks } from './pools.ts';

/** @param at what is looked at; replaceable, so that storage that hangs can be tested */
export function poolLooks(
  dataDir: string,
  clock: Clock,
  at: Looked = REAL,
  looks = new FolderLooks({ clock, mostHanging: Math.floor(ioThreads() / 2) }),
): PoolLooks {
  const look = async <T>({ name, source }: PoolSpec, fn: (path: string) => Promise<T>): Promise<T> => {
    try {
      return await looks.look(source.targetPath, () => fn(source.targetPath));
    } catch (e) {
      if (!isClusterError(e, 'STORAGE_UNAVAILABLE')) throw e;
      throw new ClusterError(
        e.reason,
        `pool ${name}: ${e.message}. Look whether its server is up and can be reached`,
        e.meta,
        e,
      );
    }
  };
  return {
    path: (spec) => look(spec, (path) => at.path(spec.name, path, dataDir)),
    folder: (spec) => look(spec, (path) => at.folder(spec.name, path)),
    directIo: (spec) => look(spec, (path) => at.directIo(path)),
  };
}

export interface Looked {
  path(name: string, path: string, dataDir: string): Promise<void>;
  folder(name: string, path: string): Promise<void>;
  directIo(path: string): Promise<boolean>;
}

const REAL: Looked = { path: checkPoolPath, folder: checkPoolFolder, directIo: takesDirectIo };
