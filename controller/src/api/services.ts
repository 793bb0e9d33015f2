/** All services of the public API and what answers them: the one list from which gRPC and HTTP are both served. */
import { AlarmServiceService } from '@berth/proto/v1/alarm.ts';
import { AuditServiceService } from '@berth/proto/v1/audit.ts';
import { ExportServiceService } from '@berth/proto/v1/export.ts';
import { CaptureServiceService } from '@berth/proto/v1/capture.ts';
import { SnapshotServiceService } from '@berth/proto/v1/snapshot.ts';
import { BatchServiceService } from '@berth/proto/v1/batch.ts';
import { CertificateServiceService } from '@berth/proto/v1/certificate.ts';
import { ClusterServiceService } from '@berth/proto/v1/cluster.ts';
import { ControllerServiceService } from '@berth/proto/v1/controller.ts';
import { DisplayServiceService } from '@berth/proto/v1/display.ts';
import { EnrollmentServiceService } from '@berth/proto/v1/enrollment.ts';
import { EventServiceService } from '@berth/proto/v1/event.ts';
import { HostLogServiceService } from '@berth/proto/v1/hostlog.ts';
import { GuestServiceService } from '@berth/proto/v1/guest.ts';
import { HostServiceService } from '@berth/proto/v1/host.ts';
import { ImageServiceService } from '@berth/proto/v1/image.ts';
import { JobServiceService } from '@berth/proto/v1/job.ts';
import { MetricsServiceService } from '@berth/proto/v1/metrics.ts';
import { PushServiceService } from '@berth/proto/v1/push.ts';
import { NetworkServiceService } from '@berth/proto/v1/network.ts';
import { PoolServiceService } from '@berth/proto/v1/pool.ts';
import { ReviewServiceService } from '@berth/proto/v1/review.ts';
import { StatisticsServiceService } from '@berth/proto/v1/statistics.ts';
import { SupportServiceService } from '@berth/proto/v1/support.ts';
import { TokenServiceService } from '@berth/proto/v1/token.ts';
import { UserServiceService } from '@berth/proto/v1/user.ts';
import { VmServiceService } from '@berth/proto/v1/vm.ts';
import { UploadServiceService } from '@berth/proto/v1/upload.ts';
import { VolumeServiceService } from '@berth/proto/v1/volume.ts';
import type { Adoption } from '../app/adoption.ts';
import type { Audit } from '../app/audit.ts';
import type { Batches } from '../app/batches.ts';
import type { Certificates } from '../app/certificates.ts';
import type { ClientCertificates } from '../app/client-certificates.ts';
import type { Displays } from '../app/displays.ts';
import type { Enrollment } from '../app/enrollment.ts';
import type { Events } from '../app/events.ts';
import type { GuestsApp } from '../app/guests.ts';
import type { HostsApp } from '../app/hosts.ts';
import type { Prune } from '../app/prune.ts';
import type { Exports } from '../app/exports.ts';
import type { Captures } from '../app/captures.ts';
import type { Snapshots } from '../app/snapshots.ts';
import type { ImagePushes } from '../app/image-push.ts';
import type { Images } from '../app/images.ts';
import type { JobsApp } from '../app/jobs.ts';
import type { Machines } from '../app/machines.ts';
import type { ClusterApp } from '../app/cluster.ts';
import type { NetworksApp } from '../app/networks.ts';
import type { PoolsApp } from '../app/pools.ts';
import type { Reviews } from '../app/reviews.ts';
import type { VmUpdates } from '../app/vm-updates.ts';
import type { VmMaking } from '../app/vm-making.ts';
import type { Vms } from '../app/vms.ts';
import type { VolumeUploads } from '../app/volume-uploads.ts';
import type { Volumes } from '../app/volumes.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Logins } from '../app/logins.ts';
import type { Tokens } from '../app/tokens.ts';
import type { TuningApp } from '../app/tuning.ts';
import type { Users } from '../app/users.ts';
import type { ControllerMetrics } from '../metrics/controller-metrics.ts';
import type { Statistics } from '../statistics/statistics.ts';
import type { Support } from '../support/bundle.ts';
import { alarmHandlers } from './alarm.ts';
import { attended } from './attended.ts';
import { auditHandlers } from './audit.ts';
import { exportHandlers } from './export.ts';
import { captureHandlers } from './capture.ts';
import { snapshotHandlers } from './snapshot.ts';
import { batchHandlers } from './batch.ts';
import { certificateHandlers } from './certificate.ts';
import { controllerHandlers, type About } from './controller.ts';
import { displayHandlers } from './display.ts';
import { enrollmentHandlers } from './enrollment.ts';
import { eventHandlers } from './event.ts';
import { hostLogHandlers } from './host-log.ts';
import { guestHandlers } from './guest.ts';
import { hostHandlers } from './host.ts';
import { imageHandlers } from './image.ts';
import { jobHandlers } from './job.ts';
import { metricsHandlers } from './metrics.ts';
import { pushHandlers } from './push.ts';
import { clusterHandlers } from './cluster.ts';
import { networkHandlers } from './network.ts';
import { poolHandlers } from './pool.ts';
import { reviewHandlers } from './review.ts';
import { Scope } from './scope.ts';
import { statisticsHandlers } from './statistics.ts';
import { supportHandlers } from './support.ts';
import { tokenHandlers } from './token.ts';
import { userHandlers } from './user.ts';
import { vmHandlers } from './vm.ts';
import { uploadHandlers } from './upload.ts';
import { volumeHandlers } from './volume.ts';
import type { Handler, Handlers, Method } from './call.ts';
import type { Identity } from '../trust/identity.ts';

export interface App {
  readonly certificates: Certificates;
  readonly clients: ClientCertificates;
  readonly trust: Pick<Identity, 'cas'>;
  readonly guests: GuestsApp;
  readonly hosts: HostsApp;
  readonly machines: Machines;
  readonly tuning: TuningApp;
  readonly vms: Vms;
  readonly making: VmMaking;
  readonly batches: Batches;
  readonly displays: Displays;
  readonly updates: VmUpdates;
  readonly images: Images;
  readonly volumes: Volumes;
  readonly volumeUploads: VolumeUploads;
  readonly captures: Captures;
  readonly snapshots: Snapshots;
  readonly exports: Exports;
  readonly prune: Prune;
  readonly pools: PoolsApp;
  readonly networks: NetworksApp;
  readonly cluster: ClusterApp;
  readonly jobs: JobsApp;
  readonly events: Events;
  readonly adoption: Adoption;
  readonly pushes: ImagePushes;
  readonly metrics: ControllerMetrics;
  readonly reviews: Reviews;
  readonly statistics: Statistics;
  readonly support: Support;
  readonly tokens: Tokens;
  readonly users: Users;
  readonly logins: Logins;
  readonly audit: Audit;
  readonly enrollment: Enrollment;
  readonly connections: Hosts;
  readonly about: About;
}

/** The handlers belong to the definition: `service` is the only way to make one. */
export interface PublicService {
  readonly definition: Readonly<Record<string, Method>>;
  readonly handlers: Handlers<Record<string, Method>>;
}

const serviceIn =
  (scope: Scope) =>
  <D extends Record<string, Method>>(definition: D, handlers: Handlers<D>): PublicService => ({
    definition,
    handlers: Object.fromEntries(
      Object.entries(definition).map(([name, method]) => [
        name,
        attended(method, handlers[name] as Handler<Method>, scope),
      ]),
    ),
  });

export function services(app: App): readonly PublicService[] {
  const { about } = app;
  const scope = new Scope(about.state.tables, (id) => app.jobs.find(id));
  const service = serviceIn(scope);
  return [
    service(AlarmServiceService, alarmHandlers(about.state, scope)),
    service(AuditServiceService, auditHandlers(app.audit)),
    service(ExportServiceService, exportHandlers(app.exports, app.images, scope)),
    service(SnapshotServiceService, snapshotHandlers(app.snapshots)),
    service(CaptureServiceService, captureHandlers(app.captures, app.images)),
    service(BatchServiceService, batchHandlers(app.batches, scope)),
    service(CertificateServiceService, certificateHandlers(app.certificates, app.clients, app.trust)),
    service(ClusterServiceService, clusterHandlers(app.cluster, scope)),
    service(ControllerServiceService, controllerHandlers(about)),
    service(DisplayServiceService, displayHandlers(app.displays)),
    service(EnrollmentServiceService, enrollmentHandlers(app.enrollment, about.state.installationId)),
    service(MetricsServiceService, metricsHandlers(app.metrics)),
    service(EventServiceService, eventHandlers(app.events, scope)),
    service(HostServiceService, hostHandlers(app.hosts, app.machines, app.tuning, scope)),
    service(HostLogServiceService, hostLogHandlers(app.connections, about.state.tables, scope)),
    service(GuestServiceService, guestHandlers(app.guests)),
    service(ImageServiceService, imageHandlers(app.images, app.adoption, scope, app.prune)),
    service(JobServiceService, jobHandlers(app.jobs, scope)),
    service(PushServiceService, pushHandlers(app.pushes)),
    service(NetworkServiceService, networkHandlers(app.networks, about.state.tables, scope)),
    service(PoolServiceService, poolHandlers(app.pools, about.state.tables, scope)),
    service(ReviewServiceService, reviewHandlers(app.reviews)),
    service(StatisticsServiceService, statisticsHandlers(app.statistics, about.state.tables, scope)),
    service(SupportServiceService, supportHandlers(app.support)),
    service(TokenServiceService, tokenHandlers(app.tokens)),
    service(UserServiceService, userHandlers(app.users, app.tokens, app.logins)),
    service(VolumeServiceService, volumeHandlers(app.volumes, scope)),
    service(UploadServiceService, uploadHandlers(app.volumeUploads)),
    service(VmServiceService, vmHandlers(app.vms, app.making, app.connections, scope, app.adoption, app.updates)),
  ];
}
