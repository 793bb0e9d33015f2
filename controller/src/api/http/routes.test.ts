/** The table of paths: complete, and each path where a person would look for it. */
import { GRPC_ONLY, HTTP_ROUTES } from '@berth/proto/http.ts';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { REASONS, type Reason } from '@berth/shared/errors/reasons.ts';
import { describe, expect, it } from 'vitest';
import { AUTHORISATION } from '../authorisation.ts';
import { httpStatusOf } from './errors.ts';
import { openMethods } from './messages.ts';
import { HttpProblem } from './problem.ts';
import { Router } from './router.ts';

const router = new Router(HTTP_ROUTES);
const find = (verb: string, path: string) => {
  try {
    const { route, variables } = router.find(verb, path);
    return [route.rpc.split('/')[2], variables];
  } catch (e) {
    return e instanceof HttpProblem ? [e.httpStatus, e.headers] : isClusterError(e) ? [e.reason, e.message] : [e];
  }
};

describe('the table of paths', () => {
  it('has every method of the public API once, or says why not', () => {
    const ours = Object.keys(AUTHORISATION).filter((path) => path.startsWith('/berth.'));
    expect([...HTTP_ROUTES.map((r) => r.rpc), ...Object.keys(GRPC_ONLY)].sort()).toEqual(ours.sort());
    expect([...openMethods().keys()].sort()).toEqual(ours.sort());
  });

  it('says nothing twice', () => {
    const all = HTTP_ROUTES.map((r) => `${r.verb} ${r.path.replaceAll(/\{\w+\}/g, '{}')}`);
    expect(all).toEqual([...new Set(all)]);
  });

  it.each([
    ['GET', '/v1/vms', 'ListVms', {}],
    ['POST', '/v1/vms', 'CreateVm', {}],
    ['GET', '/v1/vms/web', 'GetVm', { vm: 'web' }],
    ['HEAD', '/v1/vms/web', 'GetVm', { vm: 'web' }],
    ['DELETE', '/v1/vms/web', 'DeleteVm', { vm: 'web' }],
    ['POST', '/v1/vms:clone', 'CloneVm', {}],
    ['POST', '/v1/vms/web:stop', 'StopVm', { vm: 'web' }],
    ['GET', '/v1/vms/we%3Ab%2F/log', 'ReadVmLog', { vm: 'we:b/' }],
    ['POST', '/v1/hosts/h1/joinTokens', 'CreateJoinToken', { host: 'h1' }],
    ['PUT', '/v1/images/image-1:upload', 'UploadImage', { imageId: 'image-1' }],
    ['POST', '/v1/images/image-1:upload', 'UploadImage', { imageId: 'image-1' }],
  ])('%s %s is %s', (verb, path, method, variables) => {
    expect(find(verb, path)).toEqual([method, variables]);
  });

  it('tells another verb which ones there are, and nothing of a path that is not there', () => {
    expect(find('PUT', '/v1/vms')).toEqual([405, { allow: 'POST, GET' }]);
    for (const path of ['/', '', '/v1', '/v1/vms/', '/v1/vms/a/b/c', '/v1/vms/web:explode', '/v2/vms', '//'])
      expect(find('GET', path)[0]).toBe('NOT_FOUND');
    expect(find('GET', '/v1/vms/%zz')).toEqual(['INVALID_ARGUMENT', expect.stringContaining('percent-encoded')]);
    expect(find('GET', `/${'a/'.repeat(5_000)}`)[0]).toBe('NOT_FOUND');
  });

  it('gives every reason of the table of errors a status that is an error', () => {
    for (const reason of Object.keys(REASONS) as Reason[]) {
      expect(httpStatusOf(reason)).toBeGreaterThanOrEqual(400);
      expect(httpStatusOf(reason)).toBeLessThan(600);
    }
  });
});
