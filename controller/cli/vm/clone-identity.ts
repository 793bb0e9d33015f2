/** The flags of vm clone and vm create that say how guests learn who they are. */
import type { Flag, Flags } from '../core/command.ts';
import { text } from '../core/command.ts';
import { readText } from '../core/files.ts';

export const IDENTITY_FLAGS: readonly Flag[] = [
  {
    spec: '--identity <how>',
    description:
      'how the guest learns who it is: cloud-init (default), offline (its disk is changed before it boots), none',
    choices: ['cloud-init', 'offline', 'none'],
  },
  {
    spec: '--first-boot <file>',
    description: 'a script that the guest runs once, when it boots first; with --identity offline',
    kind: 'file',
  },
];

/** Absent where nothing was said. */
export function identityRequest(flags: Flags): { identity?: string; firstBoot?: string } {
  const identity = text(flags, 'identity');
  const firstBoot = text(flags, 'firstBoot');
  return {
    ...(identity !== undefined && { identity }),
    ...(firstBoot !== undefined && { firstBoot: readText(firstBoot) }),
  };
}
