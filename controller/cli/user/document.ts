/** A user as a document that people keep and give back. Passwords and tokens are secrets and stand in none. */
import type { User } from '@berth/proto/v1/user.ts';

export const userDocument = ({ name, kind, disabled, grants }: User): object => ({
  ...{ kind: 'user', name },
  spec: {
    ...{ kind, ...(disabled && { disabled }) },
    roles: grants.map((g) => ({
      role: g.role,
      ...(g.cluster && { cluster: g.cluster }),
      ...(g.selector && { selector: g.selector }),
    })),
  },
});
