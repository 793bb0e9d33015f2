/** What the manual pages of the daemons say beside their `--help`: what they are, and where things lie. */

const DROP_IN =
  'Each unit lists all that its daemon may do. Another data directory has to be allowed in it: systemctl edit, a line [Service], and a line ReadWritePaths= with the directory.';

export const CONTROLLER_ABOUT = {
  summary: 'the controller of a Berth installation',
  commands: [[], ['init'], ['run'], ['set-address'], ['admin-token'], ['backup'], ['backup', 'verify'], ['restore']],
  text: [
    'Knows all hosts and virtual machines of an installation, and decides. To begin: berth-controller init --address NAME:7443, systemctl enable --now berth-controller, berth login --token-file /var/lib/berth-controller/admin-token.',
    'The configuration is checked with --check-config and printed, with all defaults, with --print-config. Unknown settings are errors.',
    DROP_IN,
  ],
  files: [
    ['/etc/berth/controller.yaml', 'the configuration; not needed'],
    ['/var/lib/berth-controller', 'database, keys and tokens; kept when the package is removed or purged'],
    ['/lib/systemd/system/berth-controller.service', 'the unit, which runs it as user berth'],
  ],
} as const;

export const AGENT_ABOUT = {
  summary: 'the agent of Berth on a KVM host',
  commands: [[], ['run'], ['enroll'], ['check']],
  text: [
    'Runs on every host, speaks to libvirt and QEMU, and does what the controller asks for. To begin: berth host add NAME ADDRESS --token-file FILE where the berth command is, then here berth-agent enroll --token-file FILE, berth-agent check, systemctl enable --now berth-agent.',
    'A restart touches no guest and no transfer. The configuration is checked with --check-config and printed, with all defaults, with --print-config. Unknown settings are errors.',
    DROP_IN,
  ],
  files: [
    ['/etc/berth/agent.yaml', 'the configuration; not needed'],
    ['/var/lib/berth', 'disks, images and the keys of this host'],
    ['/lib/systemd/system/berth-agent.service', 'the unit, which lists what the agent may do'],
  ],
} as const;
