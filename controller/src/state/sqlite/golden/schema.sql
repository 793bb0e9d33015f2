CREATE TABLE alarms (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  severity TEXT NOT NULL,
  subject_kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  revision INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  user TEXT NOT NULL,
  token_id TEXT NOT NULL,
  peer TEXT NOT NULL,
  method TEXT NOT NULL,
  object_kind TEXT NOT NULL,
  object TEXT NOT NULL,
  outcome TEXT NOT NULL,
  reason TEXT NOT NULL,
  message TEXT NOT NULL,
  count INTEGER NOT NULL,
  job_id TEXT NOT NULL,
  before TEXT NOT NULL,
  after TEXT NOT NULL,
  prev_hash TEXT NOT NULL,
  hash TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_object ON audit (object, seq);
CREATE INDEX audit_by_user ON audit (user, seq);
CREATE TABLE certificates (
  serial TEXT PRIMARY KEY,
  purpose TEXT NOT NULL,
  host_id TEXT NOT NULL,
  state TEXT NOT NULL,
  not_after_ms INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE TABLE claims (
  vm_id TEXT PRIMARY KEY REFERENCES vms (id) DEFERRABLE INITIALLY DEFERRED,
  host_id TEXT NOT NULL REFERENCES hosts (id) DEFERRABLE INITIALLY DEFERRED,
  vcpus INTEGER NOT NULL,
  memory_bytes INTEGER NOT NULL,
  disk_bytes INTEGER NOT NULL,
  powered INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX claims_by_host ON claims (host_id);
CREATE TABLE clusters (
  name TEXT PRIMARY KEY,
  generation INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE TABLE debts (
  id TEXT PRIMARY KEY,
  host_id TEXT NOT NULL REFERENCES hosts (id) DEFERRABLE INITIALLY DEFERRED,
  kind TEXT NOT NULL,
  target TEXT NOT NULL,
  vm_id TEXT,
  why TEXT NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX debts_by_host ON debts (host_id);
CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  revision INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  type TEXT NOT NULL,
  severity TEXT NOT NULL,
  subject_kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  message TEXT NOT NULL,
  job_id TEXT
, labels TEXT) STRICT;
CREATE INDEX events_by_revision ON events (revision);
CREATE INDEX events_by_subject ON events (subject, revision);
CREATE TABLE hosts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  address TEXT NOT NULL UNIQUE,
  maintenance INTEGER NOT NULL,
  certificate_fingerprint TEXT,
  created_at_ms INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE TABLE image_copies (
  key TEXT PRIMARY KEY,
  image_id TEXT NOT NULL REFERENCES images (id) DEFERRABLE INITIALLY DEFERRED,
  host_id TEXT NOT NULL REFERENCES hosts (id) DEFERRABLE INITIALLY DEFERRED,
  file_bytes INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX image_copies_by_host ON image_copies (host_id);
CREATE INDEX image_copies_by_image ON image_copies (image_id);
CREATE TABLE images (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  digest TEXT,
  source_digest TEXT,
  virtual_size_bytes INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE TABLE job_events (
  job_id TEXT NOT NULL REFERENCES jobs (id) DEFERRABLE INITIALLY DEFERRED,
  seq INTEGER NOT NULL,
  step TEXT NOT NULL,
  type TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  data TEXT,
  PRIMARY KEY (job_id, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  version INTEGER NOT NULL,
  state TEXT NOT NULL,
  subject TEXT NOT NULL,
  key TEXT,
  user TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,
  deadline_at_ms INTEGER,
  wake_at_ms INTEGER,
  wait_reason TEXT,
  cancel_requested INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_by_end ON jobs (ended_at_ms);
CREATE UNIQUE INDEX jobs_by_key ON jobs (key) WHERE ended_at_ms IS NULL;
CREATE TABLE join_tokens (
  id TEXT PRIMARY KEY,
  host_id TEXT NOT NULL REFERENCES hosts (id) DEFERRABLE INITIALLY DEFERRED,
  secret_hash TEXT NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX join_tokens_by_host ON join_tokens (host_id);
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  installation_id TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  revision INTEGER NOT NULL
) STRICT;
CREATE TABLE networks (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE TABLE pools (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE TABLE reviews (
  host_id TEXT PRIMARY KEY REFERENCES hosts (id) DEFERRABLE INITIALLY DEFERRED,
  restored_at_ms INTEGER NOT NULL,
  backup_at_ms INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  user TEXT NOT NULL,
  role TEXT NOT NULL,
  secret_hash TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE TABLE users (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  disabled INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE TABLE vms (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  uuid TEXT NOT NULL UNIQUE,
  phase TEXT NOT NULL,
  host_id TEXT REFERENCES hosts (id) DEFERRABLE INITIALLY DEFERRED,
  desired_power TEXT NOT NULL,
  generation INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX vms_by_host ON vms (host_id);
CREATE TABLE volumes (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  host_id TEXT REFERENCES hosts (id) DEFERRABLE INITIALLY DEFERRED,
  image_id TEXT REFERENCES images (id) DEFERRABLE INITIALLY DEFERRED,
  size_bytes INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
