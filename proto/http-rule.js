/**
 * Where a method of the public API stands in HTTP. A rule, after Google's API conventions, so that a new method gets its path
 * without anybody's doing: List → GET /v1/vms, Get → GET /v1/vms/{vm}, Create → POST /v1/vms, Delete → DELETE /v1/vms/{vm}, any
 * other verb → POST /v1/vms/{vm}:start, or /v1/vms:clone when it names no VM that exists. The few that the rule does not
 * suit stand in EXCEPTIONS. Pure.
 */

/** What is not served by HTTP, and why. */
export const GRPC_ONLY = {
  'EnrollmentService.Enroll': 'agents enrol by gRPC; nothing but health answers here without a token',
  'UserService.Login': 'callers of JSON bring a token: berth token create',
  'VmService.OpenVmConsole': 'a console is a stream both ways, which HTTP/1.1 has not',
  'DisplayService.OpenVmDisplay': 'a display is a stream both ways, which HTTP/1.1 has not',
};

/** `Service.Method`: [verb, path]. */
const EXCEPTIONS = {
  'AuditService.VerifyAudit': ['POST', '/v1/audit:verify'],
  'HostLogService.ReadHostLog': ['GET', '/v1/hosts/{host}/log'],
  'SupportService.ReadSupportBundle': ['GET', '/v1/supportBundle'],
  // where Prometheus looks for them
  'MetricsService.ReadMetrics': ['GET', '/metrics'],
  'MetricsService.ReadHostMetrics': ['GET', '/metrics/hosts/{host}'],
  'MetricsService.ReadMetricsTargets': ['GET', '/metrics/targets'],
  'StatisticsService.GetVmStatistics': ['GET', '/v1/vms/{vm}/statistics'],
  'StatisticsService.GetHostStatistics': ['GET', '/v1/hosts/{host}/statistics'],
  'GuestService.ReadGuest': ['GET', '/v1/vms/{vm}/guest'],
  'GuestService.SyncGuestTime': ['POST', '/v1/vms/{vm}/guest:syncTime'],
  'GuestService.FreezeGuest': ['POST', '/v1/vms/{vm}/guest:freeze'],
  'GuestService.ThawGuest': ['POST', '/v1/vms/{vm}/guest:thaw'],
  'GuestService.SetGuestPassword': ['POST', '/v1/vms/{vm}/guest:setPassword'],
  'GuestService.ExecInGuest': ['POST', '/v1/vms/{vm}/guest:exec'],
  'SnapshotService.CreateSnapshot': ['POST', '/v1/vms/{vm}/snapshots'],
  'SnapshotService.ListSnapshots': ['GET', '/v1/vms/{vm}/snapshots'],
  'SnapshotService.GetSnapshot': ['GET', '/v1/vms/{vm}/snapshots/{snapshot}'],
  'SnapshotService.RevertSnapshot': ['POST', '/v1/vms/{vm}/snapshots/{snapshot}:revert'],
  'SnapshotService.DeleteSnapshot': ['DELETE', '/v1/vms/{vm}/snapshots/{snapshot}'],
};

const VERB = { List: 'GET', Get: 'GET', Watch: 'GET', Read: 'GET', Create: 'POST', Update: 'PATCH', Delete: 'DELETE' };

const lowerFirst = (s) => s.charAt(0).toLowerCase() + s.slice(1);
const plural = (s) => (/[^aeiou]y$/.test(s) ? `${s.slice(0, -1)}ies` : /(s|x|ch|sh)$/.test(s) ? `${s}es` : `${s}s`);

/**
 * @param service of @bufbuild/protobuf. @param method one of its methods.
 * @returns { verb, path, kind } or undefined for a method that stands in GRPC_ONLY. Throws when the rule finds no path.
 */
export function httpOf(service, method) {
  const name = `${service.name}.${method.name}`;
  if (name in GRPC_ONLY) return undefined;
  const kind = kindOf(method);
  if (kind === undefined) throw new Error(`${name} streams both ways: put it into GRPC_ONLY of proto/http-rule.js`);
  const [verb, path] = EXCEPTIONS[name] ?? (kind === 'upload' ? uploadOf(service, method) : byRule(service, method));
  return { verb, path, kind };
}

/** json: one answer. events: answers as they come. bytes: a file (what is said of it beside `data` is for gRPC). upload: a file from the caller. */
function kindOf(method) {
  const isFile = (message) => message.fields[0]?.localName === 'data';
  if (method.methodKind === 'unary') return 'json';
  if (method.methodKind === 'server_streaming') return isFile(method.output) ? 'bytes' : 'events';
  return method.methodKind === 'client_streaming' ? 'upload' : undefined;
}

function byRule(service, method) {
  const [, verb, noun] = /^([A-Z][a-z]+)(.*)$/.exec(method.name);
  const parent = lowerFirst(service.name.replace(/Service$/, ''));
  const has = (field) => method.input.fields.some((f) => f.localName === field && f.fieldKind === 'scalar');
  const one = lowerFirst(noun);
  const http = VERB[verb] ?? 'POST';
  const below = has(parent) ? `/v1/${plural(parent)}/{${parent}}` : `/v1/${plural(parent)}`;
  if (verb === 'List') return [http, `/v1/${one}`];
  if (verb === 'Watch') return [http, has(one) ? `/v1/${plural(one)}/{${one}}:watch` : `/v1/${one}:watch`];
  if (verb === 'Read') return [http, `${below}/${lowerFirst(restOf(noun, parent))}`];
  if (verb === 'Create') return [http, one === parent ? `/v1/${plural(one)}` : `${below}/${plural(one)}`];
  if (verb in VERB) return [http, has(one) ? `/v1/${plural(one)}/{${one}}` : `/v1/${one}`];
  return [http, `${below}:${lowerFirst(verb + restOf(noun, parent))}`];
}

/** The noun without the resource that it speaks of: VmLog is the vm's Log. */
function restOf(noun, parent) {
  const start = [plural(parent), parent].find((p) => lowerFirst(noun).startsWith(p));
  return start === undefined ? noun : noun.slice(start.length);
}

/** `begin` of the first message says which object: its id stands in the path. */
function uploadOf(service, method) {
  const parent = lowerFirst(service.name.replace(/Service$/, ''));
  return ['PUT', `/v1/${plural(parent)}/{${parent}Id}:${lowerFirst(method.name.replace(/(?<=[a-z])[A-Z].*$/, ''))}`];
}
