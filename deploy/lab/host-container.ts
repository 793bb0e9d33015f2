/** Starts the container of one lab host. What can be done with it afterwards is host.ts. */
import { findRoot } from '../setup/root.js';
import { nodeBinary } from './config.ts';
import { ADDRESS_LABEL, HOST_LABEL, LAB_LABEL, NETWORK_LABEL, loadTestcontainers } from './engine.ts';
import { hostImageTag } from './recipe.js';

export interface HostSpec {
  readonly label: string;
  readonly name: string;
  readonly address: string;
  readonly network: string;
  /** The address of the host's own bridge, as CIDR. */
  readonly bridgeAddress: string;
  /** Puts a file system of this size at `path` (default /var/lib/berth), to be filled up. Lost when the host reboots. */
  readonly disk?: { readonly limitBytes: number; readonly path?: string } | undefined;
  /** A folder of this machine that every host has at `target`: what a mounted server is elsewhere. */
  readonly share?: { readonly source: string; readonly target: string } | undefined;
  /** Process 1; default tini, which only reaps. With systemd, units run as on a real host. */
  readonly init?: 'tini' | 'systemd' | undefined;
  /** It can mount file systems of programs. */
  readonly fuse?: boolean | undefined;
  /** Default: the host image. */
  readonly image?: string | undefined;
}

export const READY_SOCKET = '/run/libvirt/libvirt-sock';
/** systemd makes sockets first; whoever logs in earlier than this is told to wait. */
const BOOTED = 'systemctl is-active multi-user.target';

const STARTUP_MS = 60_000;
/** Looks again and again inside, because each look from outside costs more than libvirt does. Pure. */
const once = (command: string): string =>
  `timeout ${STARTUP_MS / 1_000} sh -c 'until ${command} >/dev/null 2>&1; do sleep 0.05; done'`;

const ENTRYPOINT = '/opt/berth/deploy/lab/host/entrypoint.sh';

/** Answers the container's id, once libvirt's socket is there. */
export async function startHostContainer(spec: HostSpec): Promise<string> {
  const { GenericContainer, Wait } = await loadTestcontainers();
  const systemd = spec.init === 'systemd';

  /** testcontainers has no option for devices, fixed addresses or volumes of its own: they are set underneath. */
  class HostContainer extends GenericContainer {
    constructor() {
      super(spec.image ?? hostImageTag());
      const devices = ['/dev/net/tun', ...(spec.fuse ? ['/dev/fuse'] : [])];
      this.hostConfig.Devices = devices.map((path) => ({
        ...{ PathOnHost: path, PathInContainer: path, CgroupPermissions: 'rwm' },
      }));
      // dockerode's types do not know it
      if (systemd) Object.assign(this.hostConfig, { CgroupnsMode: 'private' });
      this.createOpts.NetworkingConfig = {
        EndpointsConfig: { [spec.network]: { Aliases: [spec.name], IPAMConfig: { IPv4Address: spec.address } } },
      };
    }
  }

  const host = new HostContainer();
  // systemd must be process 1, where tini is otherwise
  if (systemd) host.withEntrypoint([ENTRYPOINT]);
  // an image that was made from the host image by an earlier version has kept what made it
  else if (spec.image !== undefined) host.withEntrypoint(['/usr/bin/tini', '--', ENTRYPOINT]);
  const container = await host
    .withName(`berth-${spec.label}-${spec.name}`)
    .withHostname(spec.name)
    .withNetworkMode(spec.network)
    .withLabels({
      [LAB_LABEL]: spec.label,
      [HOST_LABEL]: spec.name,
      [ADDRESS_LABEL]: spec.address,
      [NETWORK_LABEL]: spec.network,
    })
    .withAddedCapabilities('SYS_ADMIN', 'NET_ADMIN', 'SYS_PTRACE', 'SYS_NICE')
    .withSecurityOpt('seccomp=unconfined', 'apparmor=unconfined')
    .withEnvironment({
      BERTH_BRIDGE_ADDRESS: spec.bridgeAddress,
      ...(systemd ? { BERTH_INIT: 'systemd', container: 'docker' } : {}),
    })
    .withBindMounts([
      { source: findRoot(), target: '/opt/berth', mode: 'ro' },
      { source: nodeBinary, target: '/usr/local/bin/node', mode: 'ro' },
      ...(spec.share === undefined ? [] : [{ ...spec.share, mode: 'rw' as const }]),
    ])
    .withTmpFs(tmpfs(spec))
    .withAutoCleanup(false)
    .withAutoRemove(false)
    .withWaitStrategy(
      Wait.forSuccessfulCommand(once(systemd ? BOOTED : `test -S ${READY_SOCKET}`)).withStartupTimeout(STARTUP_MS),
    )
    .start();
  return container.getId();
}

/** /run is emptied by a reboot, as on any host. */
export function tmpfs({ disk }: Pick<HostSpec, 'disk'>): Record<string, string> {
  const run = { '/run': 'rw,exec,mode=755' };
  if (disk === undefined) return run;
  return { ...run, [disk.path ?? '/var/lib/berth']: `rw,mode=755,size=${disk.limitBytes}` };
}
