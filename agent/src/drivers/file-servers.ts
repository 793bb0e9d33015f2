/** Which paths lie on a file server: there accounts count, and no capability of this host. Asks the server, so it may hang. */
import { statfs } from 'node:fs/promises';

/** NFS, CIFS (two), Ceph, FUSE (Gluster). */
const OF_SERVERS: ReadonlySet<number> = new Set([0x6969, 0xff534d42, 0xfe534d42, 0xc36400, 0x65735546]);

export const isOnServer = async (path: string): Promise<boolean> => OF_SERVERS.has((await statfs(path)).type);
