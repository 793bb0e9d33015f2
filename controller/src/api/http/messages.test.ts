/** Proto3's JSON at the border: what goes in and out, and the words for what is refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CloneVmRequest, StopVmRequest, Vm, VmState } from '@berth/proto/v1/vm.ts';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { jsonOf, openMethods, requestOf } from './messages.ts';
import { fieldsOfQuery } from './query.ts';

const methods = openMethods();
const input = (path: string) => {
  const method = methods.get(`/berth.v1.${path}`);
  if (method === undefined) throw new Error(path);
  return method.input;
};
const stop = input('VmService/StopVm');
const clone = input('VmService/CloneVm');
const vm = methods.get('/berth.v1.VmService/GetVm')!.output;

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (e) {
    if (isClusterError(e, 'INVALID_ARGUMENT')) return e.message;
    throw e;
  }
  return 'accepted';
}

describe('a request', () => {
  it('takes numbers of 64 bits as strings or numbers, and both spellings of a name', () => {
    for (const body of ['{"timeoutMs":"5000"}', '{"timeout_ms":5000}'])
      expect(StopVmRequest.decode(requestOf(stop, body, { vm: 'web' }))).toMatchObject({ vm: 'web', timeoutMs: 5000n });
    const largest = 2n ** 64n - 1n;
    const request = requestOf(stop, `{"timeoutMs":"${largest}"}`, {});
    expect(StopVmRequest.decode(request).timeoutMs).toBe(largest);
  });

  it('is empty without a body', () => {
    expect(StopVmRequest.decode(requestOf(stop, '', { vm: 'web' }))).toEqual({ ...StopVmRequest.create(), vm: 'web' });
  });

  it.each([
    ['{"forse":true}', '"forse" is no field of StopVmRequest; it has vm, force, timeoutMs, thenForce, mode, then'],
    ['{"force":"yes"}', 'force: expected boolean, got "yes"'],
    ['{"timeoutMs":-1}', 'timeoutMs: expected bigint (uint64): -1 out of range'],
    ['{"timeoutMs":1.5}', 'timeoutMs: expected bigint (uint64): 1.5 out of range'],
    ['{"force":true,"force":false}', 'the body is no JSON object of fields: duplicate object key "force"'],
    ['[]', 'the body is no JSON object of fields: Array(0)'],
    ['nonsense', /^the body is no JSON object of fields: Unexpected token/],
    ['{"vm":"other"}', 'vm stands in the path already: leave it out of the body'],
  ])('%s is refused with a line', (body, words) => {
    const said = refusal(() => requestOf(stop, body, { vm: 'web' }));
    if (typeof words === 'string') expect(said).toBe(words);
    else expect(said).toMatch(words);
    expect(said).not.toContain('\n');
  });

  it('is the same over JSON as over gRPC, whatever is in it', () => {
    const requests = fc.record({
      image: fc.string({ unit: 'grapheme' }),
      name: fc.string({ unit: 'grapheme-composite' }),
      diskSizeBytes: fc.bigInt(0n, 2n ** 64n - 1n),
      vcpus: fc.nat(2 ** 32 - 1),
      memoryBytes: fc.bigInt(0n, 2n ** 64n - 1n),
      dns: fc.array(fc.string()),
      labels: fc.dictionary(
        fc.string().filter((k) => k !== '__proto__'),
        fc.string(),
      ),
      dryRun: fc.boolean(),
      runPolicy: fc.option(fc.string(), { nil: undefined }),
    });
    fc.assert(
      fc.property(requests, (fields) => {
        const wanted = CloneVmRequest.fromPartial(fields);
        const json = jsonOf(clone, CloneVmRequest.encode(wanted).finish());
        expect(CloneVmRequest.decode(requestOf(clone, JSON.stringify(json), {}))).toEqual(wanted);
      }),
    );
  });
});

describe('an answer', () => {
  it('has enums by name, 64 bits as strings, and fields that are zero', () => {
    const wire = Vm.fromPartial({ name: 'web', state: VmState.RUNNING, createdAtMs: 1_700_000_000_000n, cpuUsed: 0.5 });
    expect(jsonOf(vm, Vm.encode(wire).finish())).toMatchObject({
      ...{ name: 'web', state: 'VM_STATE_RUNNING', createdAtMs: '1700000000000', cpuUsed: 0.5 },
      ...{ host: '', generation: '0', jobId: '' },
    });
    expect(jsonOf(vm, Vm.encode(wire).finish())).not.toHaveProperty('spec');
  });
});

describe('a query', () => {
  const list = input('VmService/ListVms');
  const fields = (query: string) => fieldsOfQuery(list, new URLSearchParams(query));

  it('lifts the fields of a page', () => {
    expect(fields('pageSize=5&page_token=x&host=h1')).toEqual({ page: { pageSize: '5', pageToken: 'x' }, host: 'h1' });
  });

  it.each([
    ['size=5', '"size" is no field of ListVmsRequest; it has pageSize, pageToken, host, selector'],
    ['host=a&host=b', 'host stands in the query more than once'],
    ['pageSize=5&page_size=6', 'pageSize stands in the query more than once'],
  ])('%s is refused with a line', (query, words) => {
    expect(refusal(() => fields(query))).toBe(words);
  });

  it('reads true and false only', () => {
    expect(fieldsOfQuery(stop, new URLSearchParams('force=true'))).toEqual({ force: true });
    expect(refusal(() => fieldsOfQuery(stop, new URLSearchParams('force')))).toBe('force is true or false, not ""');
  });
});
