/* eslint-disable */
// Which path of the JSON API is which method: proto/http-rule.js applied to the protos. Made by npm run gen. DO NOT EDIT.

export interface HttpRoute {
  readonly verb: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** json: one answer. events: server-sent events. bytes: a file. upload: a file from the caller. */
  readonly kind: 'json' | 'events' | 'bytes' | 'upload';
  readonly rpc: string;
}

export const HTTP_ROUTES: readonly HttpRoute[] = [
  { verb: 'GET', path: '/v1/alarms', kind: 'json', rpc: '/berth.v1.AlarmService/ListAlarms' },
  { verb: 'GET', path: '/v1/audit', kind: 'json', rpc: '/berth.v1.AuditService/ListAudit' },
  { verb: 'POST', path: '/v1/audit:verify', kind: 'json', rpc: '/berth.v1.AuditService/VerifyAudit' },
  { verb: 'GET', path: '/v1/certificates', kind: 'json', rpc: '/berth.v1.CertificateService/ListCertificates' },
  { verb: 'POST', path: '/v1/certificates/{certificate}:revoke', kind: 'json', rpc: '/berth.v1.CertificateService/RevokeCertificates' },
  { verb: 'POST', path: '/v1/certificates:rotateCa', kind: 'json', rpc: '/berth.v1.CertificateService/RotateCa' },
  { verb: 'POST', path: '/v1/certificates:issue', kind: 'json', rpc: '/berth.v1.CertificateService/IssueCertificate' },
  { verb: 'GET', path: '/v1/trust', kind: 'json', rpc: '/berth.v1.CertificateService/GetTrust' },
  { verb: 'GET', path: '/v1/controller', kind: 'json', rpc: '/berth.v1.ControllerService/GetController' },
  { verb: 'GET', path: '/v1/events', kind: 'json', rpc: '/berth.v1.EventService/ListEvents' },
  { verb: 'GET', path: '/v1/events:watch', kind: 'events', rpc: '/berth.v1.EventService/WatchEvents' },
  { verb: 'POST', path: '/v1/hosts', kind: 'json', rpc: '/berth.v1.HostService/CreateHost' },
  { verb: 'POST', path: '/v1/hosts/{host}/joinTokens', kind: 'json', rpc: '/berth.v1.HostService/CreateJoinToken' },
  { verb: 'GET', path: '/v1/hosts/{host}', kind: 'json', rpc: '/berth.v1.HostService/GetHost' },
  { verb: 'GET', path: '/v1/hosts', kind: 'json', rpc: '/berth.v1.HostService/ListHosts' },
  { verb: 'DELETE', path: '/v1/hosts/{host}', kind: 'json', rpc: '/berth.v1.HostService/DeleteHost' },
  { verb: 'POST', path: '/v1/hosts/{host}:drain', kind: 'json', rpc: '/berth.v1.HostService/DrainHost' },
  { verb: 'POST', path: '/v1/hosts/{host}:label', kind: 'json', rpc: '/berth.v1.HostService/LabelHost' },
  { verb: 'POST', path: '/v1/hosts/{host}:resume', kind: 'json', rpc: '/berth.v1.HostService/ResumeHost' },
  { verb: 'POST', path: '/v1/hosts/{host}:check', kind: 'json', rpc: '/berth.v1.HostService/CheckHost' },
  { verb: 'GET', path: '/v1/hosts/{host}/hardware', kind: 'json', rpc: '/berth.v1.HostService/ReadHostHardware' },
  { verb: 'POST', path: '/v1/images:import', kind: 'json', rpc: '/berth.v1.ImageService/ImportImage' },
  { verb: 'PUT', path: '/v1/images/{imageId}:upload', kind: 'upload', rpc: '/berth.v1.ImageService/UploadImage' },
  { verb: 'GET', path: '/v1/images/{image}', kind: 'json', rpc: '/berth.v1.ImageService/GetImage' },
  { verb: 'GET', path: '/v1/images', kind: 'json', rpc: '/berth.v1.ImageService/ListImages' },
  { verb: 'POST', path: '/v1/images/{image}:adopt', kind: 'json', rpc: '/berth.v1.ImageService/AdoptImage' },
  { verb: 'DELETE', path: '/v1/images/{image}', kind: 'json', rpc: '/berth.v1.ImageService/DeleteImage' },
  { verb: 'GET', path: '/v1/jobs/{job}', kind: 'json', rpc: '/berth.v1.JobService/GetJob' },
  { verb: 'GET', path: '/v1/jobs', kind: 'json', rpc: '/berth.v1.JobService/ListJobs' },
  { verb: 'GET', path: '/v1/jobs/{job}:watch', kind: 'events', rpc: '/berth.v1.JobService/WatchJob' },
  { verb: 'POST', path: '/v1/jobs/{job}:cancel', kind: 'json', rpc: '/berth.v1.JobService/CancelJob' },
  { verb: 'POST', path: '/v1/jobs/{job}:retry', kind: 'json', rpc: '/berth.v1.JobService/RetryJob' },
  { verb: 'POST', path: '/v1/jobs/{job}:accept', kind: 'json', rpc: '/berth.v1.JobService/AcceptJob' },
  { verb: 'GET', path: '/v1/reviews', kind: 'json', rpc: '/berth.v1.ReviewService/ListReviews' },
  { verb: 'POST', path: '/v1/reviews:acceptHost', kind: 'json', rpc: '/berth.v1.ReviewService/AcceptHost' },
  { verb: 'POST', path: '/v1/tokens', kind: 'json', rpc: '/berth.v1.TokenService/CreateToken' },
  { verb: 'GET', path: '/v1/tokens', kind: 'json', rpc: '/berth.v1.TokenService/ListTokens' },
  { verb: 'DELETE', path: '/v1/tokens/{token}', kind: 'json', rpc: '/berth.v1.TokenService/DeleteToken' },
  { verb: 'POST', path: '/v1/users', kind: 'json', rpc: '/berth.v1.UserService/CreateUser' },
  { verb: 'GET', path: '/v1/users/{user}', kind: 'json', rpc: '/berth.v1.UserService/GetUser' },
  { verb: 'GET', path: '/v1/self', kind: 'json', rpc: '/berth.v1.UserService/GetSelf' },
  { verb: 'GET', path: '/v1/users', kind: 'json', rpc: '/berth.v1.UserService/ListUsers' },
  { verb: 'DELETE', path: '/v1/users/{user}', kind: 'json', rpc: '/berth.v1.UserService/DeleteUser' },
  { verb: 'POST', path: '/v1/users/{user}:grantRole', kind: 'json', rpc: '/berth.v1.UserService/GrantRole' },
  { verb: 'POST', path: '/v1/users/{user}:revokeRole', kind: 'json', rpc: '/berth.v1.UserService/RevokeRole' },
  { verb: 'POST', path: '/v1/users/{user}:disable', kind: 'json', rpc: '/berth.v1.UserService/DisableUser' },
  { verb: 'POST', path: '/v1/users/{user}:enable', kind: 'json', rpc: '/berth.v1.UserService/EnableUser' },
  { verb: 'POST', path: '/v1/users/{user}:setPassword', kind: 'json', rpc: '/berth.v1.UserService/SetPassword' },
  { verb: 'POST', path: '/v1/vms', kind: 'json', rpc: '/berth.v1.VmService/CreateVm' },
  { verb: 'POST', path: '/v1/vms:clone', kind: 'json', rpc: '/berth.v1.VmService/CloneVm' },
  { verb: 'GET', path: '/v1/vms/{vm}', kind: 'json', rpc: '/berth.v1.VmService/GetVm' },
  { verb: 'GET', path: '/v1/vms', kind: 'json', rpc: '/berth.v1.VmService/ListVms' },
  { verb: 'POST', path: '/v1/vms/{vm}:start', kind: 'json', rpc: '/berth.v1.VmService/StartVm' },
  { verb: 'POST', path: '/v1/vms/{vm}:stop', kind: 'json', rpc: '/berth.v1.VmService/StopVm' },
  { verb: 'POST', path: '/v1/vms/{vm}:reboot', kind: 'json', rpc: '/berth.v1.VmService/RebootVm' },
  { verb: 'POST', path: '/v1/vms/{vm}:reset', kind: 'json', rpc: '/berth.v1.VmService/ResetVm' },
  { verb: 'POST', path: '/v1/vms/{vm}:suspend', kind: 'json', rpc: '/berth.v1.VmService/SuspendVm' },
  { verb: 'POST', path: '/v1/vms/{vm}:resume', kind: 'json', rpc: '/berth.v1.VmService/ResumeVm' },
  { verb: 'POST', path: '/v1/vms/{vm}:save', kind: 'json', rpc: '/berth.v1.VmService/SaveVm' },
  { verb: 'POST', path: '/v1/vms/{vm}:injectNmi', kind: 'json', rpc: '/berth.v1.VmService/InjectNmi' },
  { verb: 'POST', path: '/v1/vms/{vm}:sendKeys', kind: 'json', rpc: '/berth.v1.VmService/SendKeys' },
  { verb: 'DELETE', path: '/v1/vms/{vm}', kind: 'json', rpc: '/berth.v1.VmService/DeleteVm' },
  { verb: 'POST', path: '/v1/vms/{vm}:adopt', kind: 'json', rpc: '/berth.v1.VmService/AdoptVm' },
  { verb: 'POST', path: '/v1/vms/{vm}:label', kind: 'json', rpc: '/berth.v1.VmService/LabelVm' },
  { verb: 'GET', path: '/v1/vms/{vm}/log', kind: 'bytes', rpc: '/berth.v1.VmService/ReadVmLog' },
  { verb: 'GET', path: '/v1/vms/{vm}/screenshot', kind: 'bytes', rpc: '/berth.v1.VmService/ReadVmScreenshot' },
];

/** Not served by HTTP, and why. */
export const GRPC_ONLY: Readonly<Record<string, string>> = {
  '/berth.v1.EnrollmentService/Enroll': "agents enrol by gRPC; nothing but health answers here without a token",
  '/berth.v1.UserService/Login': "callers of JSON bring a token: berth token create",
  '/berth.v1.VmService/OpenVmConsole': "a console is a stream both ways, which HTTP/1.1 has not",
};
