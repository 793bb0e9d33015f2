/** The procedures and events of the remote program that this driver uses: number, arguments, result. A table, no code. */
import { array, hyper, int, nothing, optional, rest, string, struct, uhyper, uint } from './xdr.ts';
import type { Codec } from './xdr.ts';
import { PROGRAM } from './frame.ts';
import { domain, domainInterface, snapshot, typedParam, uuid } from './types.ts';

export interface Procedure<A, R> {
  readonly name: string;
  readonly number: number;
  readonly args: Codec<A>;
  readonly result: Codec<R>;
  /** Absent: the remote program. */
  readonly program?: number;
}

export const procedure = <A, R>(name: string, number: number, args: Codec<A>, result: Codec<R>): Procedure<A, R> => ({
  name,
  number,
  args,
  result,
});

const ofDomain = struct({ dom: domain });
const domainAndFlags = struct({ dom: domain, flags: uint });
const xmlAndFlags = struct({ xml: string, flags: uint });
const givesDomain = struct({ dom: domain });
const snapshotAndFlags = struct({ snap: snapshot, flags: uint });
/** None named: all. */
const ofMounts = struct({ dom: domain, mountPoints: array(string, 256), flags: uint });

export const PROC = {
  authList: procedure('AUTH_LIST', 66, nothing, struct({ types: array(int, 20) })),
  authPolkit: procedure('AUTH_POLKIT', 70, nothing, struct({ complete: int })),
  supportsFeature: procedure('CONNECT_SUPPORTS_FEATURE', 60, struct({ feature: int }), struct({ supported: int })),
  open: procedure('CONNECT_OPEN', 1, struct({ name: optional(string), flags: uint }), nothing),

  version: procedure('CONNECT_GET_VERSION', 4, nothing, struct({ version: uhyper })),
  libVersion: procedure('CONNECT_GET_LIB_VERSION', 157, nothing, struct({ version: uhyper })),
  capabilities: procedure('CONNECT_GET_CAPABILITIES', 7, nothing, struct({ xml: string })),

  domainCapabilities: procedure(
    'CONNECT_GET_DOMAIN_CAPABILITIES',
    342,
    struct({
      ...{ emulator: optional(string), arch: optional(string), machine: optional(string) },
      ...{ domainType: optional(string), flags: uint },
    }),
    struct({ xml: string }),
  ),
  baselineCpu: procedure(
    'CONNECT_BASELINE_HYPERVISOR_CPU',
    394,
    struct({
      ...{ emulator: optional(string), arch: optional(string), machine: optional(string) },
      ...{ domainType: optional(string), cpus: array(string, 256), flags: uint },
    }),
    struct({ xml: string }),
  ),

  listDomains: procedure(
    'CONNECT_LIST_ALL_DOMAINS',
    273,
    struct({ needResults: int, flags: uint }),
    struct({ domains: array(domain, 16_384), count: uint }),
  ),
  lookupByUuid: procedure('DOMAIN_LOOKUP_BY_UUID', 24, struct({ uuid }), givesDomain),
  lookupByName: procedure('DOMAIN_LOOKUP_BY_NAME', 23, struct({ name: string }), givesDomain),
  define: procedure('DOMAIN_DEFINE_XML_FLAGS', 350, xmlAndFlags, givesDomain),
  undefine: procedure('DOMAIN_UNDEFINE_FLAGS', 231, domainAndFlags, nothing),
  getXml: procedure('DOMAIN_GET_XML_DESC', 14, domainAndFlags, struct({ xml: string })),
  isPersistent: procedure('DOMAIN_IS_PERSISTENT', 151, ofDomain, struct({ persistent: int })),
  getMetadata: procedure(
    'DOMAIN_GET_METADATA',
    265,
    struct({ dom: domain, type: int, uri: optional(string), flags: uint }),
    struct({ metadata: string }),
  ),
  getState: procedure('DOMAIN_GET_STATE', 212, domainAndFlags, struct({ state: int, reason: int })),
  diskErrors: procedure(
    'DOMAIN_GET_DISK_ERRORS',
    263,
    struct({ dom: domain, most: uint, flags: uint }),
    struct({ errors: array(struct({ disk: string, error: int }), 256), count: int }),
  ),
  getInfo: procedure(
    'DOMAIN_GET_INFO',
    16,
    ofDomain,
    struct({ state: uint, maxMemoryKib: uhyper, memoryKib: uhyper, vcpus: uint, cpuTimeNs: uhyper }),
  ),
  create: procedure('DOMAIN_CREATE_WITH_FLAGS', 196, domainAndFlags, givesDomain),
  shutdown: procedure('DOMAIN_SHUTDOWN_FLAGS', 258, domainAndFlags, nothing),
  destroy: procedure('DOMAIN_DESTROY_FLAGS', 234, domainAndFlags, nothing),
  reboot: procedure('DOMAIN_REBOOT', 27, domainAndFlags, nothing),
  reset: procedure('DOMAIN_RESET', 245, domainAndFlags, nothing),
  suspend: procedure('DOMAIN_SUSPEND', 34, ofDomain, nothing),
  resume: procedure('DOMAIN_RESUME', 28, ofDomain, nothing),
  wakeUp: procedure('DOMAIN_PM_WAKEUP', 267, domainAndFlags, nothing),
  managedSave: procedure('DOMAIN_MANAGED_SAVE', 182, domainAndFlags, nothing),
  hasManagedSave: procedure('DOMAIN_HAS_MANAGED_SAVE_IMAGE', 183, domainAndFlags, struct({ result: int })),
  removeManagedSave: procedure('DOMAIN_MANAGED_SAVE_REMOVE', 184, domainAndFlags, nothing),
  managedSaveXml: procedure('DOMAIN_MANAGED_SAVE_GET_XML_DESC', 388, domainAndFlags, struct({ xml: string })),
  jobStats: procedure(
    'DOMAIN_GET_JOB_STATS',
    298,
    domainAndFlags,
    struct({ type: int, params: array(typedParam, 64) }),
  ),
  backupBegin: procedure(
    'DOMAIN_BACKUP_BEGIN',
    421,
    struct({ dom: domain, backupXml: string, checkpointXml: optional(string), flags: uint }),
    nothing,
  ),
  backupXml: procedure('DOMAIN_BACKUP_GET_XML_DESC', 422, domainAndFlags, struct({ xml: string })),
  abortJob: procedure('DOMAIN_ABORT_JOB', 164, ofDomain, nothing),
  injectNmi: procedure('DOMAIN_INJECT_NMI', 210, domainAndFlags, nothing),
  sendKey: procedure(
    'DOMAIN_SEND_KEY',
    226,
    struct({ dom: domain, codeset: uint, holdMs: uint, codes: array(uint, 16), flags: uint }),
    nothing,
  ),
  setVcpus: procedure('DOMAIN_SET_VCPUS_FLAGS', 199, struct({ dom: domain, vcpus: uint, flags: uint }), nothing),
  setMemory: procedure('DOMAIN_SET_MEMORY_FLAGS', 204, struct({ dom: domain, kib: uhyper, flags: uint }), nothing),
  updateDevice: procedure(
    'DOMAIN_UPDATE_DEVICE_FLAGS',
    174,
    struct({ dom: domain, xml: string, flags: uint }),
    nothing,
  ),
  attachDevice: procedure(
    'DOMAIN_ATTACH_DEVICE_FLAGS',
    160,
    struct({ dom: domain, xml: string, flags: uint }),
    nothing,
  ),
  detachDevice: procedure(
    'DOMAIN_DETACH_DEVICE_FLAGS',
    161,
    struct({ dom: domain, xml: string, flags: uint }),
    nothing,
  ),
  blockResize: procedure(
    'DOMAIN_BLOCK_RESIZE',
    251,
    struct({ dom: domain, disk: string, size: uhyper, flags: uint }),
    nothing,
  ),
  blockCopy: procedure(
    'DOMAIN_BLOCK_COPY',
    345,
    struct({ dom: domain, path: string, destXml: string, params: array(typedParam, 16), flags: uint }),
    nothing,
  ),
  blockJobInfo: procedure(
    'DOMAIN_GET_BLOCK_JOB_INFO',
    238,
    struct({ dom: domain, path: string, flags: uint }),
    struct({ found: int, type: int, bandwidth: uhyper, done: uhyper, end: uhyper }),
  ),
  blockJobAbort: procedure('DOMAIN_BLOCK_JOB_ABORT', 237, struct({ dom: domain, path: string, flags: uint }), nothing),
  createSnapshot: procedure(
    'DOMAIN_SNAPSHOT_CREATE_XML',
    185,
    struct({ dom: domain, xml: string, flags: uint }),
    struct({ snap: snapshot }),
  ),
  snapshotXml: procedure('DOMAIN_SNAPSHOT_GET_XML_DESC', 186, snapshotAndFlags, struct({ xml: string })),
  listSnapshots: procedure(
    'DOMAIN_LIST_ALL_SNAPSHOTS',
    274,
    struct({ dom: domain, needResults: int, flags: uint }),
    struct({ snapshots: array(snapshot, 16_384), count: int }),
  ),
  currentSnapshot: procedure('DOMAIN_SNAPSHOT_CURRENT', 191, domainAndFlags, struct({ snap: snapshot })),
  revertToSnapshot: procedure('DOMAIN_REVERT_TO_SNAPSHOT', 192, snapshotAndFlags, nothing),
  deleteSnapshot: procedure('DOMAIN_SNAPSHOT_DELETE', 193, snapshotAndFlags, nothing),
  monitorCommand: {
    ...procedure(
      'QEMU DOMAIN_MONITOR_COMMAND',
      1,
      struct({ dom: domain, command: string, flags: uint }),
      struct({ result: string }),
    ),
    program: PROGRAM.qemu,
  },
  screenshot: procedure(
    'DOMAIN_SCREENSHOT',
    211,
    struct({ dom: domain, screen: uint, flags: uint }),
    struct({ mime: optional(string) }),
  ),
  allStats: procedure(
    'CONNECT_GET_ALL_DOMAIN_STATS',
    344,
    struct({ doms: array(domain, 16_384), stats: uint, flags: uint }),
    // stats-record.ts reads it
    struct({ records: rest }),
  ),

  openConsole: procedure(
    'DOMAIN_OPEN_CONSOLE',
    201,
    struct({ dom: domain, device: optional(string), flags: uint }),
    nothing,
  ),

  // through the agent in a guest
  agentTimeout: procedure(
    'DOMAIN_AGENT_SET_RESPONSE_TIMEOUT',
    420,
    struct({ dom: domain, seconds: int, flags: uint }),
    struct({ result: int }),
  ),
  guestInfo: procedure(
    'DOMAIN_GET_GUEST_INFO',
    418,
    struct({ dom: domain, types: uint, flags: uint }),
    struct({ params: array(typedParam, 2_048) }),
  ),
  interfaceAddresses: procedure(
    'DOMAIN_INTERFACE_ADDRESSES',
    353,
    struct({ dom: domain, source: uint, flags: uint }),
    struct({ interfaces: array(domainInterface, 2_048) }),
  ),
  getTime: procedure('DOMAIN_GET_TIME', 337, domainAndFlags, struct({ seconds: hyper, nanoseconds: uint })),
  setTime: procedure(
    'DOMAIN_SET_TIME',
    338,
    struct({ dom: domain, seconds: hyper, nanoseconds: uint, flags: uint }),
    nothing,
  ),
  freeze: procedure('DOMAIN_FSFREEZE', 335, ofMounts, struct({ fileSystems: int })),
  thaw: procedure('DOMAIN_FSTHAW', 336, ofMounts, struct({ fileSystems: int })),
  setUserPassword: procedure(
    'DOMAIN_SET_USER_PASSWORD',
    357,
    struct({ dom: domain, user: optional(string), password: optional(string), flags: uint }),
    nothing,
  ),
  agentCommand: {
    ...procedure(
      'QEMU DOMAIN_AGENT_COMMAND',
      3,
      struct({ dom: domain, command: string, seconds: int, flags: uint }),
      struct({ result: optional(string) }),
    ),
    program: PROGRAM.qemu,
  },

  registerEvent: procedure(
    'CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY',
    316,
    struct({ eventId: int, dom: optional(domain) }),
    struct({ callbackId: int }),
  ),
} as const;

/** Events: the id to register with, the procedure number its messages carry, and their payload. */
export const EVENT = {
  lifecycle: { id: 0, number: 318, payload: struct({ callbackId: int, dom: domain, event: int, detail: int }) },
  reboot: { id: 1, number: 319, payload: struct({ callbackId: int, dom: domain }) },
  ioError: {
    id: 6,
    number: 324,
    payload: struct({ callbackId: int, dom: domain, path: string, device: string, action: int, reason: string }),
  },
  balloon: { id: 13, number: 331, payload: struct({ callbackId: int, dom: domain, actualKib: uhyper }) },
  deviceRemoved: { id: 15, number: 333, payload: struct({ callbackId: int, dom: domain, alias: string }) },
  deviceKept: { id: 22, number: 367, payload: struct({ callbackId: int, dom: domain, alias: string }) },
  agentLifecycle: { id: 18, number: 348, payload: struct({ callbackId: int, dom: domain, state: int, reason: int }) },
  metadata: {
    id: 23,
    number: 379,
    payload: struct({ callbackId: int, dom: domain, type: int, uri: optional(string) }),
  },
} as const;
