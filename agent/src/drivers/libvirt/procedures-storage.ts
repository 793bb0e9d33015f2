/** The procedures of the remote program for storage pools, their volumes, and secrets. A table, no code. */
import { procedure } from './procedures.ts';
import { uuid } from './types.ts';
import { array, data, int, nothing, string, struct, uhyper, uint } from './xdr.ts';

const pool = struct({ name: string, uuid });
const volume = struct({ pool: string, name: string, key: string });
const secret = struct({ uuid, usageType: int, usageId: string });

const ofPool = struct({ pool });
const poolAndFlags = struct({ pool, flags: uint });
const ofVolume = struct({ volume });
const volumeAndFlags = struct({ volume, flags: uint });
const givesVolume = struct({ volume });

/** libvirt looks a pool up by its uuid; the name serves its messages. */
export const poolRef = (id: string, name = id) => ({ name, uuid: id });

export const STORAGE = {
  listPools: procedure(
    'CONNECT_LIST_ALL_STORAGE_POOLS',
    281,
    struct({ needResults: int, flags: uint }),
    struct({ pools: array(pool, 16_384), count: uint }),
  ),
  lookup: procedure('STORAGE_POOL_LOOKUP_BY_UUID', 85, struct({ uuid }), ofPool),
  define: procedure('STORAGE_POOL_DEFINE_XML', 77, struct({ xml: string, flags: uint }), ofPool),
  create: procedure('STORAGE_POOL_CREATE', 78, poolAndFlags, nothing),
  build: procedure('STORAGE_POOL_BUILD', 79, poolAndFlags, nothing),
  destroy: procedure('STORAGE_POOL_DESTROY', 80, ofPool, nothing),
  undefine: procedure('STORAGE_POOL_UNDEFINE', 82, ofPool, nothing),
  refresh: procedure('STORAGE_POOL_REFRESH', 83, poolAndFlags, nothing),
  info: procedure(
    'STORAGE_POOL_GET_INFO',
    87,
    ofPool,
    struct({ state: uint, capacity: uhyper, allocation: uhyper, available: uhyper }),
  ),
  xml: procedure('STORAGE_POOL_GET_XML_DESC', 88, poolAndFlags, struct({ xml: string })),
  setAutostart: procedure('STORAGE_POOL_SET_AUTOSTART', 90, struct({ pool, autostart: int }), nothing),

  listVolumes: procedure(
    'STORAGE_POOL_LIST_ALL_VOLUMES',
    282,
    struct({ pool, needResults: int, flags: uint }),
    struct({ volumes: array(volume, 16_384), count: uint }),
  ),
  findVolume: procedure('STORAGE_VOL_LOOKUP_BY_NAME', 95, struct({ pool, name: string }), givesVolume),
  createVolume: procedure('STORAGE_VOL_CREATE_XML', 93, struct({ pool, xml: string, flags: uint }), givesVolume),
  deleteVolume: procedure('STORAGE_VOL_DELETE', 94, volumeAndFlags, nothing),
  resizeVolume: procedure('STORAGE_VOL_RESIZE', 260, struct({ volume, capacity: uhyper, flags: uint }), nothing),
  volumeInfo: procedure(
    'STORAGE_VOL_GET_INFO',
    98,
    ofVolume,
    struct({ type: int, capacity: uhyper, allocation: uhyper }),
  ),
  wipeVolume: procedure('STORAGE_VOL_WIPE_PATTERN', 259, struct({ volume, algorithm: uint, flags: uint }), nothing),
  volumePath: procedure('STORAGE_VOL_GET_PATH', 100, ofVolume, struct({ path: string })),
  upload: procedure(
    'STORAGE_VOL_UPLOAD',
    208,
    struct({ volume, offset: uhyper, length: uhyper, flags: uint }),
    nothing,
  ),

  download: procedure(
    'STORAGE_VOL_DOWNLOAD',
    209,
    struct({ volume, offset: uhyper, length: uhyper, flags: uint }),
    nothing,
  ),

  defineSecret: procedure('SECRET_DEFINE_XML', 142, struct({ xml: string, flags: uint }), struct({ secret })),
  setSecretValue: procedure('SECRET_SET_VALUE', 144, struct({ secret, value: data(65_536), flags: uint }), nothing),
  secretValue: procedure('SECRET_GET_VALUE', 145, struct({ secret, flags: uint }), struct({ value: data(65_536) })),
  undefineSecret: procedure('SECRET_UNDEFINE', 146, struct({ secret }), nothing),
  findSecret: procedure('SECRET_LOOKUP_BY_UUID', 141, struct({ uuid }), struct({ secret })),
} as const;
