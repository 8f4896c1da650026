-- What a host asks for that lost its disk: all that the database knows. And what is written into the bucket, so
-- that it can be known without the database.

create function public.storage_list_all_projects(
  p_limit integer,
  p_after text default '',
  p_only text default null
)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(page) order by page.project_id collate "C"), '[]')
  from (
    select p.project_id, p.owner_id, p.is_deleted, p.active_version,
      total.versions, total.bytes, total.known, total.latest_version
    from (
      select id as project_id, owner_id, active_version, deleted_at is not null as is_deleted
      from public.storage_projects
      where id collate "C" > p_after and id = coalesce(p_only, id)
      order by id collate "C"
      limit p_limit
    ) p
    cross join lateral (
      select count(*) as known,
        count(*) filter (where g.status in ('uploaded', 'verified')) as versions,
        coalesce(sum(g.archive_bytes) filter (where g.status in ('uploaded', 'verified')), 0) as bytes,
        coalesce(max(g.version), 0) as latest_version
      from public.storage_generations g
      where g.project_id = p.project_id
    ) total
  ) page
$$;
comment on function public.storage_list_all_projects is
  'A page of all projects, by id: whose they are, how many generations the cloud has, how many it knows of, deleted ones and those on their way too.';

create index storage_projects_by_id on public.storage_projects (id collate "C");

create function public.storage_list_all_generations(
  p_limit integer,
  p_project_id text,
  p_after integer default 0
)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(page) order by page.version), '[]')
  from (
    select g.project_id, g.version, g.generation_id, g.bucket, g.object_key, g.status, g.failure,
      g.digest, g.sha256, g.archive_bytes, g.source_bytes, g.file_count, g.created_at,
      g.uploaded_at, g.deleted_at, g.purge_at, g.epoch
    from public.storage_generations g
    where g.project_id = p_project_id and g.version > p_after
    order by g.version
    limit p_limit
  ) page
$$;
comment on function public.storage_list_all_generations is
  'A page of all generations of a project, by version, deleted ones and those on their way too.';

-- The project's file --------------------------------------------------------------------------
-- Any host writes it, one at a time: who claimed it writes what was so when it was claimed.

create sequence public.storage_project_revisions;

create table public.storage_project_files (
  -- No foreign key: it would lock the project.
  project_id text primary key,
  -- Of the last change that the file is to tell of.
  revision bigint not null default nextval('public.storage_project_revisions'),
  -- Until when somebody writes it; null where nobody does.
  claimed_until timestamptz
);
comment on table public.storage_project_files is
  'Of which projects the file in the bucket is to be written anew: its owner has changed, or what is active, deleted or replaced.';
create index storage_project_files_by_revision on public.storage_project_files (revision);

alter table public.storage_project_files enable row level security;
revoke all on public.storage_project_files from anon, authenticated;
revoke all on sequence public.storage_project_revisions from anon, authenticated;
grant all on public.storage_project_files to service_role;
grant all on sequence public.storage_project_revisions to service_role;

create function public.storage_note_project()
returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  changed text[];
begin
  if tg_table_name = 'storage_projects' then
    changed := array[new.id];
  elsif tg_op = 'INSERT' then
    select array_agg(distinct project_id) into changed from after where deleted_at is not null;
  else
    select array_agg(distinct project_id) into changed
    from (
      select project_id, version, deleted_at is null, purged_at, digest from after
      except
      select project_id, version, deleted_at is null, purged_at, digest from before
    ) told;
  end if;
  insert into public.storage_project_files as file (project_id)
  select id from unnest(changed) id
  order by id collate "C"
  on conflict (project_id) do update set revision = nextval('public.storage_project_revisions');
  return null;
end
$$;
comment on function public.storage_note_project is
  'Notes that the file of a project tells no longer how it is. It runs as its owner: users write nothing directly.';

create trigger storage_projects_file
  after insert on public.storage_projects
  for each row when (new.owner_id is not null) execute function public.storage_note_project();
create trigger storage_projects_file_again
  after update on public.storage_projects
  for each row when (
    (old.owner_id, old.name, old.active_version, old.activated_at, old.deleted_at)
    is distinct from (new.owner_id, new.name, new.active_version, new.activated_at, new.deleted_at)
  ) execute function public.storage_note_project();
create trigger storage_generations_file_new
  after insert on public.storage_generations referencing new table as after
  for each statement execute function public.storage_note_project();
create trigger storage_generations_file
  after update on public.storage_generations
  referencing old table as before new table as after
  for each statement execute function public.storage_note_project();

create function public.storage_owe_project_files(p_project_id text default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  insert into public.storage_project_files as file (project_id)
  select id from public.storage_projects where id = coalesce(p_project_id, id)
  order by id collate "C"
  on conflict (project_id) do update set revision = nextval('public.storage_project_revisions');
  return jsonb_build_object('outcome', 'recorded');
end
$$;
comment on function public.storage_owe_project_files is
  'Has the file of a project, or of all, be written anew: the bucket may have lost it.';

-- What is there already is written once.
select public.storage_owe_project_files();

create function public.storage_bucket_of(p_project_id text)
returns text
language sql stable
set search_path = ''
as $$
  select g.bucket from public.storage_generations g
  where g.project_id = p_project_id order by g.version desc limit 1
$$;
comment on function public.storage_bucket_of is
  'Where the archives of a project are; null where there are none.';

create function public.storage_project_file_of(p public.storage_projects)
returns jsonb
language plpgsql stable
set search_path = ''
as $$
begin
  return jsonb_strip_nulls(jsonb_build_object(
    'schema', 1, 'project_id', p.id, 'owner_id', p.owner_id, 'name', p.name,
    'deleted_at', p.deleted_at,
    'latest_version', (
      select max(g.version) from public.storage_generations g where g.project_id = p.id
    ),
    'active', (
      select jsonb_build_object('version', g.version, 'generation_id', g.generation_id,
        'activated_at', p.activated_at)
      from public.storage_generations g
      where g.project_id = p.id and g.version = p.active_version
    ),
    -- Several contents of these lie in the bucket.
    'replaced', (
      select jsonb_agg(jsonb_build_object('version', g.version, 'generation_id', g.generation_id,
        'digest', g.digest) order by g.version)
      from public.storage_generations g
      where g.project_id = p.id and g.deleted_at is null and g.uploaded_at is not null
        and exists (
          select 1 from public.storage_archives a
          where a.project_id = g.project_id and a.version = g.version and a.state = 'kept'
        )
    ),
    'deleted', (
      select jsonb_agg(jsonb_build_object('version', g.version, 'generation_id', g.generation_id,
        'digest', g.digest, 'deleted_at', g.deleted_at, 'purge_at', g.purge_at) order by g.version)
      from public.storage_generations g
      where g.project_id = p.id and g.deleted_at is not null
    )
  ));
end
$$;
comment on function public.storage_project_file_of is
  'What the file of a project is to say.';

create function public.storage_claim_project_files(p_limit integer)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  due text[];
  claimed jsonb;
begin
  select array_agg(free.project_id) into due from (
    select project_id from public.storage_project_files
    where claimed_until is null or claimed_until < now()
    order by revision
    limit p_limit
    for update skip locked
  ) free;
  delete from public.storage_project_files
  where project_id = any (due) and project_id not in (select id from public.storage_projects);
  update public.storage_project_files
  set claimed_until = now() + interval '3 minutes'
  where project_id = any (due);
  -- In a statement of its own: it sees all that was there before the claim.
  select coalesce(jsonb_agg(jsonb_build_object(
    'project_id', p.id, 'revision', file.revision,
    -- Where its archives are.
    'bucket', public.storage_bucket_of(p.id),
    'file', public.storage_project_file_of(p)
  )), '[]') into claimed
  from public.storage_project_files file
  join public.storage_projects p on p.id = file.project_id
  where file.project_id = any (due);
  return claimed;
end
$$;
comment on function public.storage_claim_project_files is
  'What the files of some projects are to say that tell no longer how it is. Nobody else is given them for three minutes.';

create function public.storage_record_project_files(p_items jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  -- What has changed meanwhile is written once more; so is what somebody else wrote and noted meanwhile, whose time had
  -- come: which of the two lies there now nobody knows.
  with given as (
    select project_id, revision
    from jsonb_to_recordset(p_items) as item (project_id text, revision bigint)
  ), done as (
    delete from public.storage_project_files file
    using given
    where file.project_id = given.project_id and file.revision = given.revision
    returning file.project_id
  )
  insert into public.storage_project_files as file (project_id)
  select project_id from given
  where project_id not in (select project_id from done)
  order by project_id collate "C"
  on conflict (project_id) do update set claimed_until = null;
  return jsonb_build_object('outcome', 'recorded');
end
$$;
comment on function public.storage_record_project_files is
  'Notes that the files of projects are written, as they were when they were claimed.';

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
        'storage_list_all_projects', 'storage_list_all_generations', 'storage_note_project',
        'storage_owe_project_files', 'storage_bucket_of', 'storage_project_file_of', 'storage_claim_project_files',
        'storage_record_project_files'
      ])
  loop
    execute format('revoke all on function %s from public, anon, authenticated', called.signature);
    execute format('grant execute on function %s to service_role', called.signature);
  end loop;
end
$$;
