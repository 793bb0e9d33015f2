/** berth vm clone: which kind of clone it is to be. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { yes, type Flag, type Flags } from '../core/command.ts';

const KINDS = ['linked', 'instant', 'full'] as const;

export const KIND_FLAGS: readonly Flag[] = [
  { spec: '--linked', description: 'overlay on the image, when the host has all of it' },
  {
    spec: '--instant',
    description: 'overlay on the image, at once; the host gets it meanwhile (default where it lacks it)',
  },
  { spec: '--full', description: 'copy of the image, which rests on nothing' },
];

/** Undefined: as it fits. */
export function cloneKind(flags: Flags): string | undefined {
  const said = KINDS.filter((k) => yes(flags, k));
  if (said.length > 1) throw invalidArgument(`choose one of ${said.map((k) => `--${k}`).join(' and ')}`);
  return said[0];
}
