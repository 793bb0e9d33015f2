import { describe, expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { named } from './import.ts';

describe('an import that a host refused', () => {
  it('names the file as the person knows it', () => {
    const refused = new ClusterError('UNSAFE_IMAGE', 'the uploaded file is truncated', {
      subject: 'the uploaded file',
    });
    expect(named(refused, 'base.qcow2')).toMatchObject({
      reason: 'UNSAFE_IMAGE',
      message: 'base.qcow2 is truncated',
    });
  });
  it('leaves all other errors as they are', () => {
    const full = new ClusterError('NO_CAPACITY', 'h1 is full');
    expect(named(full, 'base.qcow2')).toBe(full);
  });
});
