/**
 * Who may call what, and to what: every method of every service, the least role that it takes, and the object that the role
 * must hold for. A test fails when a method is missing. How objects are looked up is scope.ts's.
 */
import type { Role } from '@berth/shared/model/access.ts';
import { rank, type Access } from '../app/access.ts';

/** `self`: everybody who has a valid token, whatever their roles. `anyone`: without one, too. */
type Needed = Role | 'self' | 'anyone';

/**
 * - `installation`: the role must hold everywhere.
 * - `vm`, `host`, `job`: the one that the field of this name names.
 * - `volume`: the one that the field of this name names, which is where its VM is, if it has one; and the VM that `vm` names.
 * - `newVm`, `newHost`, `newVolume`: one with the labels of the request; `newVms`: each of its rows.
 * - `visible`: the role may hold anywhere; the handler shows what the caller may see, and no more.
 */
export type Target =
  'installation' | 'vm' | 'host' | 'job' | 'volume' | 'newVm' | 'newVms' | 'newHost' | 'newVolume' | 'visible';

export interface Rule {
  readonly needs: Needed;
  readonly on: Target;
}

/** A role alone must hold everywhere. */
export const AUTHORISATION: Readonly<Record<string, Needed | readonly [Role, Target]>> = {
  '/berth.v1.AlarmService/ListAlarms': ['viewer', 'visible'],

  '/berth.v1.AuditService/ListAudit': 'admin',
  '/berth.v1.AuditService/VerifyAudit': 'admin',

  // an image of it shows all that its disks hold
  '/berth.v1.CaptureService/CaptureImage': ['operator', 'vm'],

  '/berth.v1.SnapshotService/CreateSnapshot': ['operator', 'vm'],
  '/berth.v1.SnapshotService/ListSnapshots': ['viewer', 'vm'],
  '/berth.v1.SnapshotService/GetSnapshot': ['viewer', 'vm'],
  '/berth.v1.SnapshotService/RevertSnapshot': ['operator', 'vm'],
  '/berth.v1.SnapshotService/DeleteSnapshot': ['operator', 'vm'],

  '/berth.v1.CertificateService/ListCertificates': 'viewer',
  // their own; those of others are for administrators, which the handler sees to
  '/berth.v1.CertificateService/RevokeCertificates': 'self',
  '/berth.v1.CertificateService/RotateCa': 'admin',
  '/berth.v1.CertificateService/IssueCertificate': 'self',
  '/berth.v1.CertificateService/GetTrust': 'self',

  '/berth.v1.BatchService/CloneVms': ['operator', 'newVms'],

  '/berth.v1.ClusterService/GetCluster': ['viewer', 'visible'],
  '/berth.v1.ClusterService/SetClusterCpu': 'admin',
  '/berth.v1.ControllerService/GetController': 'self',

  // a screen is as good as a login
  '/berth.v1.DisplayService/CreateDisplayTicket': ['operator', 'vm'],
  '/berth.v1.DisplayService/OpenVmDisplay': ['operator', 'vm'],

  '/berth.v1.EnrollmentService/Enroll': 'anyone',

  // whoever may make VMs of an image can read all that is in it
  '/berth.v1.ExportService/ExportImage': ['operator', 'visible'],
  // with a ticket
  '/berth.v1.ExportService/ExportVolume': ['operator', 'volume'],
  '/berth.v1.ExportService/Download': ['operator', 'visible'],
  '/berth.v1.ExportService/FinishDownload': ['operator', 'visible'],

  '/berth.v1.EventService/ListEvents': ['viewer', 'visible'],
  '/berth.v1.EventService/WatchEvents': ['viewer', 'visible'],

  // logs of a host tell of all VMs on it, and what guests and programs write may hold secrets
  '/berth.v1.HostLogService/ReadHostLog': ['operator', 'host'],
  // seen from inside: who is logged in, and where its disks are mounted
  '/berth.v1.GuestService/ReadGuest': ['viewer', 'vm'],
  '/berth.v1.GuestService/SyncGuestTime': ['operator', 'vm'],
  '/berth.v1.GuestService/FreezeGuest': ['operator', 'vm'],
  '/berth.v1.GuestService/ThawGuest': ['operator', 'vm'],
  // who has its console and its reset button can do as much
  '/berth.v1.GuestService/SetGuestPassword': ['operator', 'vm'],
  // silently, and as root
  '/berth.v1.GuestService/ExecInGuest': ['admin', 'vm'],

  '/berth.v1.HostService/CreateHost': ['admin', 'newHost'],
  '/berth.v1.HostService/CreateJoinToken': ['admin', 'host'],
  '/berth.v1.HostService/GetHost': ['viewer', 'host'],
  '/berth.v1.HostService/ListHosts': ['viewer', 'visible'],
  '/berth.v1.HostService/DeleteHost': ['admin', 'host'],
  '/berth.v1.HostService/DrainHost': ['operator', 'host'],
  '/berth.v1.HostService/ResumeHost': ['operator', 'host'],
  '/berth.v1.HostService/UpdateHost': ['admin', 'host'],
  '/berth.v1.HostService/LabelHost': ['admin', 'host'],
  '/berth.v1.HostService/CheckHost': ['viewer', 'host'],
  '/berth.v1.HostService/ReadHostHardware': ['viewer', 'host'],
  '/berth.v1.HostService/ReadHostTuning': ['viewer', 'host'],
  '/berth.v1.HostService/TuneHost': ['admin', 'host'],

  // every caller with a role may use images; they belong to nobody
  '/berth.v1.ImageService/ImportImage': 'operator',
  '/berth.v1.ImageService/UploadImage': 'operator',
  '/berth.v1.ImageService/GetImage': ['viewer', 'visible'],
  '/berth.v1.ImageService/ListImages': ['viewer', 'visible'],
  '/berth.v1.ImageService/AdoptImage': 'admin',
  '/berth.v1.ImageService/TagImage': 'operator',
  '/berth.v1.ImageService/SetImage': 'operator',
  '/berth.v1.ImageService/PruneImages': 'operator',
  '/berth.v1.ImageService/DeleteImage': 'operator',

  // to all hosts, also such as the caller does not see: a copy of an image takes nothing that is theirs but room
  '/berth.v1.PushService/PushImage': 'operator',

  '/berth.v1.JobService/GetJob': ['viewer', 'job'],
  '/berth.v1.JobService/ListJobs': ['viewer', 'visible'],
  '/berth.v1.JobService/WatchJob': ['viewer', 'job'],
  '/berth.v1.JobService/CancelJob': ['operator', 'job'],
  '/berth.v1.JobService/RetryJob': ['operator', 'job'],
  '/berth.v1.JobService/AcceptJob': ['operator', 'job'],

  // for monitoring: counts, and the names of hosts and VMs; what is known of one host is bound to it
  '/berth.v1.MetricsService/ReadMetrics': 'metrics',
  '/berth.v1.MetricsService/ReadHostMetrics': ['metrics', 'host'],
  '/berth.v1.MetricsService/ReadMetricsTargets': ['metrics', 'visible'],

  // which networks hosts have is the administrators' to say; everybody with a role may see them, and put cards there
  '/berth.v1.NetworkService/CreateNetwork': 'admin',
  '/berth.v1.NetworkService/GetNetwork': ['viewer', 'visible'],
  '/berth.v1.NetworkService/ListNetworks': ['viewer', 'visible'],
  '/berth.v1.NetworkService/UpdateNetwork': 'admin',
  '/berth.v1.NetworkService/DeleteNetwork': 'admin',
  // where disks lie is the administrators' to say; everybody with a role may see it, and put disks there
  '/berth.v1.PoolService/CreatePool': 'admin',
  '/berth.v1.PoolService/GetPool': ['viewer', 'visible'],
  '/berth.v1.PoolService/ListPools': ['viewer', 'visible'],
  '/berth.v1.PoolService/UpdatePool': 'admin',
  '/berth.v1.PoolService/StartPool': 'admin',
  '/berth.v1.PoolService/StopPool': 'admin',
  '/berth.v1.PoolService/RefreshPool': 'operator',
  '/berth.v1.PoolService/DeletePool': 'admin',

  '/berth.v1.ReviewService/ListReviews': 'viewer',
  '/berth.v1.ReviewService/AcceptHost': 'admin',

  '/berth.v1.StatisticsService/ListVmStatistics': ['viewer', 'visible'],
  '/berth.v1.StatisticsService/ListHostStatistics': ['viewer', 'visible'],
  '/berth.v1.StatisticsService/GetVmStatistics': ['viewer', 'vm'],
  '/berth.v1.StatisticsService/GetHostStatistics': ['viewer', 'host'],

  // all logs of all hosts; and no more than an administrator may see anyway
  '/berth.v1.SupportService/ReadSupportBundle': 'admin',

  '/berth.v1.TokenService/CreateToken': 'self',
  '/berth.v1.TokenService/ListTokens': 'self',
  '/berth.v1.TokenService/DeleteToken': 'self',

  '/berth.v1.UploadService/UploadVolume': ['operator', 'newVolume'],
  '/berth.v1.UploadService/ReplaceVolume': ['operator', 'volume'],
  // those that the caller began
  '/berth.v1.UploadService/OpenUpload': ['operator', 'job'],
  // with a ticket
  '/berth.v1.UploadService/Send': ['operator', 'visible'],

  '/berth.v1.UserService/CreateUser': 'admin',
  '/berth.v1.UserService/GetUser': 'admin',
  '/berth.v1.UserService/GetSelf': 'self',
  '/berth.v1.UserService/ListUsers': 'admin',
  '/berth.v1.UserService/DeleteUser': 'admin',
  '/berth.v1.UserService/GrantRole': 'admin',
  '/berth.v1.UserService/RevokeRole': 'admin',
  '/berth.v1.UserService/DisableUser': 'admin',
  '/berth.v1.UserService/EnableUser': 'admin',
  '/berth.v1.UserService/Login': 'anyone',
  '/berth.v1.UserService/SetPassword': 'self',

  '/berth.v1.VmService/CreateVm': ['operator', 'newVm'],
  '/berth.v1.VmService/CloneVm': ['operator', 'newVm'],
  '/berth.v1.VmService/GetVm': ['viewer', 'vm'],
  '/berth.v1.VmService/ListVms': ['viewer', 'visible'],
  '/berth.v1.VmService/UpdateVm': ['operator', 'vm'],
  '/berth.v1.VmService/ListGuestSystems': 'self',
  '/berth.v1.VmService/StartVm': ['operator', 'vm'],
  '/berth.v1.VmService/StopVm': ['operator', 'vm'],
  '/berth.v1.VmService/RebootVm': ['operator', 'vm'],
  '/berth.v1.VmService/ResetVm': ['operator', 'vm'],
  '/berth.v1.VmService/SuspendVm': ['operator', 'vm'],
  '/berth.v1.VmService/ResumeVm': ['operator', 'vm'],
  '/berth.v1.VmService/SaveVm': ['operator', 'vm'],
  '/berth.v1.VmService/InjectNmi': ['operator', 'vm'],
  '/berth.v1.VmService/SendKeys': ['operator', 'vm'],
  '/berth.v1.VmService/CustomizeVm': ['operator', 'vm'],
  '/berth.v1.VmService/DeleteVm': ['operator', 'vm'],
  '/berth.v1.VmService/LabelVm': ['operator', 'vm'],
  '/berth.v1.VmService/AdoptVm': 'admin',
  // what a guest prints and shows may hold secrets, and its console is a login
  '/berth.v1.VmService/ReadVmScreenshot': ['operator', 'vm'],
  '/berth.v1.VmService/ReadVmLog': ['operator', 'vm'],
  '/berth.v1.VmService/OpenVmConsole': ['operator', 'vm'],

  // of a unit of storage: operator everywhere, which the handler sees to
  '/berth.v1.VolumeService/CreateVolume': ['operator', 'newVolume'],
  '/berth.v1.VolumeService/GetVolume': ['viewer', 'volume'],
  '/berth.v1.VolumeService/ListVolumes': ['viewer', 'visible'],
  '/berth.v1.VolumeService/DeleteVolume': ['operator', 'volume'],
  '/berth.v1.VolumeService/ResizeVolume': ['operator', 'volume'],
  '/berth.v1.VolumeService/ConvertVolume': ['operator', 'volume'],
  '/berth.v1.VolumeService/SparsifyVolume': ['operator', 'volume'],
  '/berth.v1.VolumeService/WipeVolume': ['operator', 'volume'],
  '/berth.v1.VolumeService/AttachVolume': ['operator', 'volume'],
  '/berth.v1.VolumeService/DetachVolume': ['operator', 'volume'],
  '/berth.v1.VolumeService/LabelVolume': ['operator', 'volume'],
  '/berth.v1.VolumeService/MoveVolume': ['operator', 'volume'],
  '/berth.v1.VolumeService/AdoptVolume': 'admin',

  '/grpc.health.v1.Health/Check': 'anyone',
  '/grpc.health.v1.Health/List': 'anyone',
  '/grpc.health.v1.Health/Watch': 'anyone',

  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': 'viewer',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': 'viewer',
};

/** Methods that are not in the table are for nobody. */
export function ruleOf(path: string): Rule | undefined {
  const entry = Object.hasOwn(AUTHORISATION, path) ? AUTHORISATION[path] : undefined;
  if (entry === undefined) return undefined;
  return typeof entry === 'string' ? { needs: entry, on: 'installation' } : { needs: entry[0], on: entry[1] };
}

/** Whether the caller may call the method at all; for which objects is scope.ts's. */
export function mayCall(access: Access, { needs, on }: Rule): boolean {
  if (needs === 'anyone' || needs === 'self') return true;
  return on === 'installation' ? access.everywhere(needs) : rank(access.highest) >= rank(needs);
}
