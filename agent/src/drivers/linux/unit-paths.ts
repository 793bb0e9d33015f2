/**
 * Whether the agent's unit lets it write to a directory. The unit is deploy/systemd/berth-agent.service; under it everything
 * but /var/lib/berth is read-only until a drop-in says otherwise. Pure: machine.ts asks systemd.
 */

export const AGENT_UNIT = 'berth-agent.service';
/** What the unit may write to without a drop-in. */
export const UNIT_DATA_DIR = '/var/lib/berth';
export const UNIT_PROPERTIES = ['LoadState', 'ProtectSystem', 'ReadWritePaths'];

/** What to do about it; goes behind what is wrong. */
export const unitAdvice = (dir: string): string =>
  `the unit ${AGENT_UNIT} must name it: systemctl edit berth-agent, there [Service] and ReadWritePaths=${dir}, then systemctl restart berth-agent`;

/** Words about a directory that could not be written to: read-only is what it looks like inside the unit. */
export const withUnitAdvice = (dir: string, fault: string): string =>
  /EROFS|read-only/i.test(fault) ? `${fault}; unless its file system is read-only, ${unitAdvice(dir)}` : fault;

/** @param shown what `systemctl show` prints for UNIT_PROPERTIES. True where there is no such unit. */
export function unitMayWrite(shown: string, dir: string): boolean {
  const property = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(shown)?.[1] ?? '';
  if (property('LoadState') !== 'loaded' || property('ProtectSystem') !== 'strict') return true;
  const paths = property('ReadWritePaths')
    .split(' ')
    .map((p) => p.replace(/^[-+]+/, ''))
    .filter((p) => p !== '');
  return [UNIT_DATA_DIR, ...paths].some((p) => `${dir}/`.startsWith(p.endsWith('/') ? p : `${p}/`));
}
