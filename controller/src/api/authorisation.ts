/** Who may call what: every method of every service, and the least role it takes. A test fails when one is missing. */
import type { Role } from '@berth/shared/model/access.ts';
import type { Access } from '../app/access.ts';

/** `self`: everybody who has a valid token, whatever their roles. `anyone`: without one, too. */
export type Needed = Role | 'self' | 'anyone';

export const AUTHORISATION: Readonly<Record<string, Needed>> = {
  '/berth.v1.AlarmService/ListAlarms': 'viewer',

  '/berth.v1.AuditService/ListAudit': 'admin',
  '/berth.v1.AuditService/VerifyAudit': 'admin',

  '/berth.v1.CertificateService/ListCertificates': 'viewer',
  '/berth.v1.CertificateService/RevokeCertificates': 'admin',
  '/berth.v1.CertificateService/RotateCa': 'admin',
  '/berth.v1.CertificateService/GetTrust': 'self',

  '/berth.v1.ControllerService/GetController': 'viewer',

  '/berth.v1.EnrollmentService/Enroll': 'anyone',

  '/berth.v1.EventService/ListEvents': 'viewer',
  '/berth.v1.EventService/WatchEvents': 'viewer',

  '/berth.v1.HostService/CreateHost': 'admin',
  '/berth.v1.HostService/CreateJoinToken': 'admin',
  '/berth.v1.HostService/GetHost': 'viewer',
  '/berth.v1.HostService/ListHosts': 'viewer',
  '/berth.v1.HostService/DeleteHost': 'admin',
  '/berth.v1.HostService/DrainHost': 'operator',
  '/berth.v1.HostService/ResumeHost': 'operator',

  '/berth.v1.ImageService/ImportImage': 'operator',
  '/berth.v1.ImageService/UploadImage': 'operator',
  '/berth.v1.ImageService/GetImage': 'viewer',
  '/berth.v1.ImageService/ListImages': 'viewer',
  '/berth.v1.ImageService/AdoptImage': 'admin',
  '/berth.v1.ImageService/DeleteImage': 'operator',

  '/berth.v1.JobService/GetJob': 'viewer',
  '/berth.v1.JobService/ListJobs': 'viewer',
  '/berth.v1.JobService/WatchJob': 'viewer',
  '/berth.v1.JobService/CancelJob': 'operator',
  '/berth.v1.JobService/RetryJob': 'operator',
  '/berth.v1.JobService/AcceptJob': 'operator',

  '/berth.v1.ReviewService/ListReviews': 'viewer',
  '/berth.v1.ReviewService/AcceptHost': 'admin',

  '/berth.v1.TokenService/CreateToken': 'self',
  '/berth.v1.TokenService/ListTokens': 'self',
  '/berth.v1.TokenService/DeleteToken': 'self',

  '/berth.v1.UserService/CreateUser': 'admin',
  '/berth.v1.UserService/GetUser': 'admin',
  '/berth.v1.UserService/GetSelf': 'self',
  '/berth.v1.UserService/ListUsers': 'admin',
  '/berth.v1.UserService/DeleteUser': 'admin',
  '/berth.v1.UserService/GrantRole': 'admin',
  '/berth.v1.UserService/RevokeRole': 'admin',
  '/berth.v1.UserService/DisableUser': 'admin',
  '/berth.v1.UserService/EnableUser': 'admin',

  '/berth.v1.VmService/CreateVm': 'operator',
  '/berth.v1.VmService/CloneVm': 'operator',
  '/berth.v1.VmService/GetVm': 'viewer',
  '/berth.v1.VmService/ListVms': 'viewer',
  '/berth.v1.VmService/StartVm': 'operator',
  '/berth.v1.VmService/StopVm': 'operator',
  '/berth.v1.VmService/DeleteVm': 'operator',
  '/berth.v1.VmService/AdoptVm': 'admin',
  // what a guest prints may hold secrets, and its console is a login
  '/berth.v1.VmService/ReadVmLog': 'operator',
  '/berth.v1.VmService/OpenVmConsole': 'operator',

  '/grpc.health.v1.Health/Check': 'anyone',
  '/grpc.health.v1.Health/List': 'anyone',
  '/grpc.health.v1.Health/Watch': 'anyone',

  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': 'viewer',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': 'viewer',
};

/** Methods that are not in the table are for nobody. */
export const neededFor = (path: string): Needed | undefined =>
  Object.hasOwn(AUTHORISATION, path) ? AUTHORISATION[path] : undefined;

export const mayCall = (access: Access, needed: Needed): boolean =>
  needed === 'anyone' || needed === 'self' || access.everywhere(needed);
