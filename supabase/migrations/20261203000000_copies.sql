-- Replicas: second copies of archives, in buckets elsewhere. What is owed to a replica is noted here in the transaction
-- that makes it so; a host that has the keys of the replica asks for some of it, does it, and says what became of it.

create table public.storage_replicas (
  name text primary key check (name ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  -- Of which it is a copy.
  bucket text not null,
  -- Where it is, in the words of whoever added it.
  region text not null check (char_length(region) between 1 and 64),
  created_at timestamptz not null default now()
);
comment on table public.storage_replicas is 'Buckets elsewhere that are to have a copy of each verified archive of one of ours.';

create table public.storage_copies (
  replica text not null references public.storage_replicas (name) on delete cascade,
  bucket text not null,
  object_key text not null,
  -- No foreign keys: what lies in a replica is known for as long as it lies there.
  project_id text not null,
  version integer not null,
  -- Which host has the archive on its disk.
  host_id uuid,
  -- owed: to be copied; copied: it lies there, proven; unneeded: it is to be removed from there
  state text not null check (state in ('owed', 'copied', 'unneeded')),
  -- Since when.
  state_at timestamptz not null default now(),
  -- Of what lies there.
  sha256 text,
  -- From when on it may be tried again.
  due_at timestamptz not null default now(),
  -- Until then it is somebody's who works on it.
  claimed_until timestamptz,
  attempts integer not null default 0,
  failure text check (char_length(failure) <= 1000),
  primary key (replica, bucket, object_key)
);
comment on table public.storage_copies is
  'What lies in each replica, what is owed to it, and what is to go from there.';
create index storage_copies_due on public.storage_copies (replica, due_at) where state <> 'copied';
create index storage_copies_of_object on public.storage_copies (bucket, object_key);
create index storage_copies_of_generation on public.storage_copies (project_id, version);

create table public.storage_replica_projects (
  replica text not null references public.storage_replicas (name) on delete cascade,
  project_id text not null,
  -- As in storage_project_files, of which this is the like for replicas.
  revision bigint not null default nextval('public.storage_project_revisions'),
  claimed_until timestamptz,
  primary key (replica, project_id)
);
comment on table public.storage_replica_projects is
  'Of which projects the file in a replica is to be written anew.';
create index storage_replica_projects_by_revision
  on public.storage_replica_projects (replica, revision);

alter table public.storage_replicas enable row level security;
alter table public.storage_copies enable row level security;
alter table public.storage_replica_projects enable row level security;
revoke all on public.storage_replicas, public.storage_copies, public.storage_replica_projects
  from anon, authenticated;
grant all on public.storage_replicas, public.storage_copies, public.storage_replica_projects
  to service_role;

-- What becomes owed ----------------------------------------------------------------------------

create function public.storage_note_verified()
returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  -- Who works on one that was to go is waited for: the claim stays.
  insert into public.storage_copies as copy (
    replica, bucket, object_key, project_id, version, host_id, state
  )
  select r.name, new.bucket, new.object_key, new.project_id, new.version, a.host_id, 'owed'
  from public.storage_replicas r
  left join public.storage_archives a on a.bucket = new.bucket and a.object_key = new.object_key
  where r.bucket = new.bucket
  on conflict (replica, bucket, object_key) do update
    set state = 'owed', state_at = now(), attempts = 0, failure = null
    where copy.state = 'unneeded';
  return null;
end
$$;
comment on function public.storage_note_verified is
  'Owes a copy of a verified archive to each replica. It runs as its owner: users write nothing directly.';

create trigger storage_generations_copies_new
  after insert on public.storage_generations
  for each row when (new.status = 'verified') execute function public.storage_note_verified();
create trigger storage_generations_copies
  after update of status, bucket, object_key on public.storage_generations
  for each row when (
    new.status = 'verified'
    and (old.status, old.bucket, old.object_key) is distinct from (new.status, new.bucket, new.object_key)
  ) execute function public.storage_note_verified();

create function public.storage_note_unneeded()
returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  update public.storage_copies
  set state = 'unneeded', state_at = now(), attempts = 0, failure = null
  where bucket = new.bucket and object_key = new.object_key and state <> 'unneeded';
  return null;
end
$$;
comment on function public.storage_note_unneeded is
  'Has the copies go of an archive that nothing needs. It runs as its owner: users write nothing directly.';

create trigger storage_archives_copies
  after update of state on public.storage_archives
  for each row when (
    new.state in ('unneeded', 'removed') and old.state not in ('unneeded', 'removed')
  ) execute function public.storage_note_unneeded();

create function public.storage_note_replica_project()
returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  insert into public.storage_replica_projects as file (replica, project_id)
  select name, new.project_id from public.storage_replicas
  where bucket = coalesce(public.storage_bucket_of(new.project_id), bucket)
  on conflict (replica, project_id) do update
    set revision = nextval('public.storage_project_revisions');
  return null;
end
$$;
comment on function public.storage_note_replica_project is
  'Notes that the file of a project is to be written anew in each replica too. It runs as its owner.';

create trigger storage_project_files_replicas_new
  after insert on public.storage_project_files
  for each row execute function public.storage_note_replica_project();
create trigger storage_project_files_replicas
  after update of revision on public.storage_project_files
  for each row when (new.revision <> old.revision)
  execute function public.storage_note_replica_project();

-- What hosts ask for -----------------------------------------------------------------------------

create function public.storage_add_replica(p_name text, p_bucket text, p_region text)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  insert into public.storage_replicas as replica (name, bucket, region)
  values (p_name, p_bucket, p_region)
  on conflict (name) do update set region = excluded.region where replica.bucket = p_bucket;
  if not found then
    return jsonb_build_object('outcome', 'other');
  end if;
  insert into public.storage_replica_projects (replica, project_id)
  select p_name, id from public.storage_projects
  where p_bucket = coalesce(public.storage_bucket_of(id), p_bucket)
  order by id collate "C"
  on conflict (replica, project_id) do nothing;
  return jsonb_build_object('outcome', 'recorded');
end
$$;
comment on function public.storage_add_replica is
  'Has a replica have what is verified from now on, and the file of each project. What was verified before is owed by storage_owe_copies. Other where the name is that of a copy of another bucket.';

create function public.storage_forget_replica(p_name text)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  delete from public.storage_replicas where name = p_name;
  return jsonb_build_object('outcome', 'recorded');
end
$$;
comment on function public.storage_forget_replica is
  'Has nothing be owed to a replica any more, and forgets what lies there.';

create function public.storage_owe_copies(
  p_replica text,
  p_limit integer,
  p_after_project text default '',
  p_after_version integer default 0
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  copied_bucket text;
  page public.storage_generations[];
  last public.storage_generations;
  owed integer;
begin
  select bucket into copied_bucket from public.storage_replicas where name = p_replica for share;
  if not found then
    return jsonb_build_object('outcome', 'missing');
  end if;
  select array_agg(g) into page from (
    select * from public.storage_generations
    where (project_id collate "C", version) > (p_after_project, p_after_version)
    order by project_id collate "C", version
    limit p_limit
  ) g;
  insert into public.storage_copies (
    replica, bucket, object_key, project_id, version, host_id, state
  )
  select p_replica, g.bucket, g.object_key, g.project_id, g.version, a.host_id, 'owed'
  from unnest(page) g
  join public.storage_archives a on a.bucket = g.bucket and a.object_key = g.object_key
  where g.status = 'verified' and g.bucket = copied_bucket and a.state = 'current'
  order by g.bucket collate "C", g.object_key collate "C"
  on conflict (replica, bucket, object_key) do nothing;
  get diagnostics owed = row_count;
  -- What failed is tried at once.
  update public.storage_copies c
  set due_at = now(), attempts = 0
  from unnest(page) g
  where c.replica = p_replica and c.project_id = g.project_id and c.version = g.version
    and c.state <> 'copied' and c.failure is not null;
  last := page[array_length(page, 1)];
  return jsonb_build_object('outcome', 'recorded', 'owed', owed, 'next', case
    when array_length(page, 1) = p_limit
      then jsonb_build_object('project_id', last.project_id, 'version', last.version)
  end);
end
$$;
comment on function public.storage_owe_copies is
  'Owes a replica what is verified and was never owed, some generations at a time, and has what failed be tried at once; tells where it goes on, null at the end.';

create index storage_generations_in_order
  on public.storage_generations (project_id collate "C", version);

create function public.storage_claim_copies(
  p_replica text,
  p_host_id uuid,
  p_limit integer
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  claimed jsonb;
begin
  with due as (
    select c.bucket, c.object_key
    from public.storage_copies c
    where c.replica = p_replica and c.state <> 'copied' and c.due_at <= now()
      and (c.claimed_until is null or c.claimed_until <= now())
      -- Whoever has it on its disk costs the bucket no read: others come after ten minutes.
      and (p_host_id is null or c.state = 'unneeded' or c.host_id is null or c.host_id = p_host_id
        or c.state_at < now() - interval '10 minutes')
    order by c.due_at
    limit p_limit
    for update skip locked
  ), taken as (
    update public.storage_copies c
    -- As long as it may take at 128 KiB a second: what is begun ends before another begins.
    set claimed_until = now() + interval '5 minutes'
        + coalesce(a.archive_bytes, 0) / 131072 * interval '1 second',
      attempts = c.attempts + 1
    from due
    left join public.storage_archives a on a.bucket = due.bucket and a.object_key = due.object_key
    where c.replica = p_replica and c.bucket = due.bucket and c.object_key = due.object_key
    returning c.*, a.sha256 as archive_sha256, a.archive_bytes
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'bucket', taken.bucket, 'object_key', taken.object_key, 'project_id', taken.project_id,
    'version', taken.version, 'generation_id', g.generation_id, 'state', taken.state,
    'attempts', taken.attempts, 'sha256', taken.archive_sha256,
    'archive_bytes', taken.archive_bytes
  ) order by taken.object_key), '[]') into claimed
  from taken
  left join public.storage_generations g
    on g.project_id = taken.project_id and g.version = taken.version;
  return claimed;
end
$$;
comment on function public.storage_claim_copies is
  'Some of what is owed to a replica, or is to go from there: of what a host has on its disk, or others left for ten minutes, or of all where no host is named. Nobody else is given it for as long as that may take.';

create function public.storage_note_copies(p_replica text, p_items jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  with given as (
    select * from jsonb_to_recordset(p_items) as item (
      bucket text, object_key text, project_id text, version integer,
      outcome text, sha256 text, failure text, wait_ms bigint
    )
  ), late as (
    -- Whoever took longer than it was given: it was removed meanwhile, and lies there again.
    insert into public.storage_copies (replica, bucket, object_key, project_id, version, state, sha256)
    select p_replica, bucket, object_key, project_id, version, 'unneeded', sha256
    from given
    where outcome = 'copied' and exists (select 1 from public.storage_replicas where name = p_replica)
    on conflict (replica, bucket, object_key) do nothing
  ), removed as (
    -- One that is needed again is copied again.
    delete from public.storage_copies c
    using given
    where c.replica = p_replica and c.bucket = given.bucket and c.object_key = given.object_key
      and given.outcome = 'removed' and c.state = 'unneeded'
  )
  update public.storage_copies c
  set state = case when given.outcome = 'copied' and c.state = 'owed' then 'copied' else c.state end,
    state_at = case when given.outcome = 'copied' and c.state = 'owed' then now() else c.state_at end,
    sha256 = case given.outcome when 'copied' then given.sha256 when 'removed' then null else c.sha256 end,
    due_at = now() + coalesce(given.wait_ms, 0) * interval '1 millisecond',
    claimed_until = null,
    attempts = case when given.outcome = 'failed' then c.attempts else 0 end,
    -- One that was given back untried failed before as it did.
    failure = case when given.outcome = 'failed' then coalesce(left(given.failure, 1000), c.failure) end
  from given
  where c.replica = p_replica and c.bucket = given.bucket and c.object_key = given.object_key
    and not (given.outcome = 'removed' and c.state = 'unneeded');
  return jsonb_build_object('outcome', 'recorded');
end
$$;
comment on function public.storage_note_copies is
  'Notes what became of copies that were claimed: copied, and proven; removed; or failed, and why, and for how long to wait. One that is to go by now, and was copied, is due at once.';

create function public.storage_list_copies(
  p_replica text,
  p_limit integer,
  p_after_bucket text default '',
  p_after_key text default '',
  p_project_id text default null
)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(page) order by page.bucket collate "C", page.object_key collate "C"), '[]')
  from (
    select c.bucket, c.object_key, c.project_id, c.version, c.state, c.sha256, c.failure, a.archive_bytes
    from public.storage_copies c
    left join public.storage_archives a on a.bucket = c.bucket and a.object_key = c.object_key
    where c.replica = p_replica and (p_project_id is null or c.project_id = p_project_id)
      and (c.bucket collate "C", c.object_key collate "C") > (p_after_bucket, p_after_key)
    order by c.bucket collate "C", c.object_key collate "C"
    limit p_limit
  ) page
$$;
comment on function public.storage_list_copies is
  'A page of what lies in a replica, is owed to it, or is to go from there, by key; of one project where one is named.';

create index storage_copies_in_order
  on public.storage_copies (replica, bucket collate "C", object_key collate "C");

create function public.storage_count_copies()
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(counted) order by counted.name), '[]')
  from (
    select r.name, r.bucket, r.region, r.created_at,
      count(c.state) filter (where c.state = 'copied') as copied,
      count(c.state) filter (where c.state = 'owed') as owed,
      count(c.state) filter (where c.state = 'unneeded') as unneeded,
      count(c.failure) as failed,
      min(c.state_at) filter (where c.state <> 'copied') as owed_since,
      (array_agg(c.failure order by c.state_at) filter (where c.failure is not null))[1] as failure
    from public.storage_replicas r
    left join public.storage_copies c on c.replica = r.name
    group by r.name
  ) counted
$$;
comment on function public.storage_count_copies is
  'How each replica is: how many archives lie there, are owed to it, are to go from there, and failed last, with one reason.';

create function public.storage_lose_copies(p_replica text, p_items jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  lost integer;
begin
  update public.storage_copies c
  set state = 'owed', state_at = now(), sha256 = null, due_at = now(), attempts = 0
  from jsonb_to_recordset(p_items) as given (bucket text, object_key text)
  where c.replica = p_replica and c.bucket = given.bucket and c.object_key = given.object_key
    and c.state = 'copied';
  get diagnostics lost = row_count;
  return jsonb_build_object('outcome', 'recorded', 'owed', lost);
end
$$;
comment on function public.storage_lose_copies is
  'Owes copies again that a replica was found not to have, or not whole.';

create function public.storage_copies_of(p_bucket text, p_object_key text)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(replica order by replica), '[]')
  from public.storage_copies
  where bucket = p_bucket and object_key = p_object_key and state = 'copied'
$$;
comment on function public.storage_copies_of is 'Which replicas have a copy of an archive, by name.';

create function public.storage_claim_replica_projects(p_replica text, p_limit integer)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  due text[];
  claimed jsonb;
begin
  select array_agg(free.project_id) into due from (
    select project_id from public.storage_replica_projects
    where replica = p_replica and (claimed_until is null or claimed_until < now())
    order by revision
    limit p_limit
    for update skip locked
  ) free;
  delete from public.storage_replica_projects
  where replica = p_replica and project_id = any (due)
    and project_id not in (select id from public.storage_projects);
  update public.storage_replica_projects
  set claimed_until = now() + interval '3 minutes'
  where replica = p_replica and project_id = any (due);
  -- In a statement of its own: it sees all that was there before the claim.
  select coalesce(jsonb_agg(jsonb_build_object('project_id', p.id, 'revision', file.revision,
    'bucket', null, 'file', public.storage_project_file_of(p))), '[]') into claimed
  from public.storage_replica_projects file
  join public.storage_projects p on p.id = file.project_id
  where file.replica = p_replica and file.project_id = any (due);
  return claimed;
end
$$;
comment on function public.storage_claim_replica_projects is
  'What the files of some projects are to say in a replica, where they tell no longer how it is. Nobody else is given them for three minutes.';

create function public.storage_record_replica_projects(p_replica text, p_items jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  -- As storage_record_project_files does.
  with given as (
    select project_id, revision
    from jsonb_to_recordset(p_items) as item (project_id text, revision bigint)
  ), done as (
    delete from public.storage_replica_projects file
    using given
    where file.replica = p_replica and file.project_id = given.project_id
      and file.revision = given.revision
    returning file.project_id
  )
  insert into public.storage_replica_projects as file (replica, project_id)
  select p_replica, project_id from given
  where project_id not in (select project_id from done)
    and exists (select 1 from public.storage_replicas where name = p_replica)
  order by project_id collate "C"
  on conflict (replica, project_id) do update set claimed_until = null;
  return jsonb_build_object('outcome', 'recorded');
end
$$;
comment on function public.storage_record_replica_projects is
  'Notes that the files of projects are written in a replica, as they were when they were claimed; one of another revision, or of 0, is given back.';

-- Who may call: the service alone. PostgreSQL lets everybody execute a new function, and hosted
-- Supabase grants it to anon too.

do $$
declare
  called record;
begin
  for called in
    select p.oid::regprocedure as signature
    from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace
      and p.proname = any (array[
        'storage_note_verified', 'storage_note_unneeded', 'storage_note_replica_project',
        'storage_add_replica', 'storage_forget_replica', 'storage_owe_copies',
        'storage_claim_copies', 'storage_note_copies', 'storage_list_copies',
        'storage_copies_of', 'storage_count_copies', 'storage_lose_copies', 'storage_claim_replica_projects',
        'storage_record_replica_projects'
      ])
  loop
    execute format('revoke all on function %s from public, anon, authenticated', called.signature);
    execute format('grant execute on function %s to service_role', called.signature);
  end loop;
end
$$;
