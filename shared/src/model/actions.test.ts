import { describe, expect, it } from 'vitest';
import { whyNot } from './actions.ts';

describe('why an action is not allowed', () => {
  it.each(['console', 'display', 'screenshot', 'stop'] as const)('says of %s that the host is silent', (action) => {
    expect(whyNot(action, { name: 'web', state: 'unknown', host: 'h2' })).toBe(
      'vm web is unknown on h2. Its host does not answer now (see: berth host list).',
    );
  });
});
