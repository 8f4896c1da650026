-- Generations in the cloud: which there are, whose they are, and where their archives lie.
-- Runs on hosted Supabase as it is. `projects` and `generations` are names of the old application.

create table public.storage_projects (
  id text primary key check (id ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$'),
  -- Null until somebody says whose it is; no user sees it before. No foreign key to auth.users:
  -- users may come from elsewhere, and deleting an account must not lose generations.
  owner_id uuid,
  name text check (char_length(name) between 1 and 200),
  active_version integer,
  -- When that was said, by its user or on a host: the last word counts.
  activated_at timestamptz,
  -- When it was noted here, which hosts follow.
  active_noted_at timestamptz,
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);
comment on table public.storage_projects is 'A project: owned by one user, holds generations.';

create unique index storage_projects_folded_id on public.storage_projects (lower(id));
create index storage_projects_active_noted
  on public.storage_projects (active_noted_at, id) where active_noted_at is not null;
create index storage_projects_by_owner
  on public.storage_projects (owner_id, created_at desc, id desc) where deleted_at is null;

create table public.storage_generations (
  project_id text not null references public.storage_projects (id),
  version integer not null check (version >= 1),
  generation_id text not null check (generation_id ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$'),
  bucket text not null,
  object_key text not null,
  status text not null default 'pending'
    check (status in ('pending', 'uploaded', 'verified', 'failed', 'deleted')),
  -- Why a host gave its upload up, for the user.
  failure text check (char_length(failure) <= 1000),
  digest text,
  sha256 text,
  archive_bytes bigint,
  source_bytes bigint,
  file_count integer,
  created_at timestamptz not null default now(),
  uploaded_at timestamptz,
  verified_at timestamptz,
  deleted_at timestamptz,
  -- When a deletion was undone last: one of before that, which comes later, changes nothing.
  undeleted_at timestamptz,
  -- Which host undid one of its own that had not got here: only its own are meant then. Null: any.
  undeleted_by uuid,
  -- Whether it was the active one when it was deleted.
  was_active boolean not null default false,
  -- From when on what is kept of a deleted one may go; null where nothing is, or that is over.
  purge_at timestamptz,
  -- When it was given up for good: it cannot be undeleted from then on.
  purged_at timestamptz,
  -- Counts the contents that it had, its deletions, and what followed them: what was asked for, or is told,
  -- of an older one is late.
  epoch integer not null default 1,
  primary key (project_id, version),
  unique (bucket, object_key),
  check ((status = 'deleted') = (deleted_at is not null))
);
comment on table public.storage_generations is
  'A generation and where its archive is. A deleted one stays as a tombstone: its version is not given again.';

create index storage_generations_listed
  on public.storage_generations (project_id, version desc) where deleted_at is null;
create table public.storage_archives (
  bucket text not null,
  object_key text not null,
  project_id text not null,
  version integer not null,
  -- Of what a host puts there. A key is given out once, for one archive: nothing else ever lies there.
  digest text,
  sha256 text,
  archive_bytes bigint,
  source_bytes bigint,
  file_count integer,
  created_at timestamptz,
  -- Which host reserved it.
  host_id uuid,
  -- The epoch of the generation that it was to follow.
  follows integer not null default 0,
  -- expected: given out, and not recorded yet; current: the row names it; kept: of what was deleted or
  -- replaced, for as long as that can be undone; unneeded: it is to be removed; removed: it was
  state text not null check (state in ('expected', 'current', 'kept', 'unneeded', 'removed')),
  state_at timestamptz not null default now(),
  -- When the row began to name it; null where it never did.
  current_at timestamptz,
  -- From when on a kept one may go.
  purge_at timestamptz,
  -- What the row had beside it, of one that was replaced and is kept.
  manifest jsonb,
  block_index jsonb,
  verified_at timestamptz,
  -- An upload that was under way when the object was removed may have ended after that: when to look
  -- for it once more.
  look_again_at timestamptz,
  primary key (bucket, object_key),
  foreign key (project_id, version) references public.storage_generations (project_id, version)
    on delete cascade
);
comment on table public.storage_archives is
  'Every object key that was ever given out, and whether its object is needed: nothing lies in the bucket that no row names.';

create index storage_archives_of_generation on public.storage_archives (project_id, version);
create index storage_archives_unneeded on public.storage_archives (state_at)
  where state = 'unneeded';
create index storage_archives_looked_for on public.storage_archives (look_again_at)
  where look_again_at is not null;

create table public.storage_manifests (
  project_id text not null,
  version integer not null,
  manifest jsonb not null,
  block_index jsonb,
  primary key (project_id, version),
  foreign key (project_id, version) references public.storage_generations (project_id, version)
);
comment on table public.storage_manifests is
  'What a generation holds, apart from its row so that lists and live updates stay small.';

-- Who may read -------------------------------------------------------------------------------

alter table public.storage_projects enable row level security;
alter table public.storage_generations enable row level security;
alter table public.storage_manifests enable row level security;
-- No policy: keys are between the hosts and the bucket.
alter table public.storage_archives enable row level security;

revoke all on public.storage_projects, public.storage_generations, public.storage_manifests,
  public.storage_archives from anon, authenticated;
grant select on public.storage_projects, public.storage_generations, public.storage_manifests
  to authenticated;
grant all on public.storage_projects, public.storage_generations, public.storage_manifests,
  public.storage_archives to service_role;

create policy "owners read their projects" on public.storage_projects
  for select to authenticated
  using (owner_id = (select auth.uid()) and deleted_at is null);

create policy "owners read their generations" on public.storage_generations
  for select to authenticated
  using (
    deleted_at is null
    and exists (
      select 1 from public.storage_projects p
      where p.id = project_id and p.owner_id = (select auth.uid())
    )
  );

create policy "owners read their manifests" on public.storage_manifests
  for select to authenticated
  using (
    exists (
      select 1 from public.storage_generations g
      where g.project_id = storage_manifests.project_id and g.version = storage_manifests.version
    )
  );

-- An archive can be read and signed while its generation is listed as uploaded, by the owner
-- alone. There is no policy to insert, update or delete: users write nothing.
create policy "owners read their archives" on storage.objects
  for select to authenticated
  using (
    exists (
      select 1
      from public.storage_generations g
      join public.storage_projects p on p.id = g.project_id
      where g.bucket = objects.bucket_id
        and g.object_key = objects.name
        and g.status in ('uploaded', 'verified')
        and p.owner_id = (select auth.uid())
    )
  );

-- What a user may ask ------------------------------------------------------------------------
-- The functions that read run as the caller, under the policies above. Where a page begins is a
-- default, not a coalesce(): under row level security PostgreSQL takes that for something that
-- could leak, and would read all rows before the page instead of asking the index.

create function public.storage_generation_json(g public.storage_generations, active_version integer)
returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_build_object(
    'project_id', g.project_id, 'version', g.version, 'generation_id', g.generation_id,
    'status', g.status, 'failure', g.failure, 'active', g.version is not distinct from active_version,
    'file_count', g.file_count, 'source_bytes', g.source_bytes, 'archive_bytes', g.archive_bytes,
    'digest', g.digest, 'sha256', g.sha256,
    'created_at', g.created_at, 'uploaded_at', g.uploaded_at
  )
$$;

create function public.storage_list_projects(
  p_limit integer,
  p_before_created_at timestamptz default 'infinity',
  p_before_id text default ''
)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(page) order by page.created_at desc, page.id desc), '[]')
  from (
    select p.id, p.name, p.active_version, p.created_at, total.versions, total.archive_bytes
    from (
      select *
      from public.storage_projects
      where deleted_at is null
        and owner_id = (select auth.uid())
        and (created_at, id) < (p_before_created_at, p_before_id)
      order by created_at desc, id desc
      limit p_limit
    ) p
    cross join lateral (
      select count(*) as versions, coalesce(sum(g.archive_bytes), 0) as archive_bytes
      from public.storage_generations g
      where g.project_id = p.id and g.deleted_at is null
    ) total
  ) page
$$;
comment on function public.storage_list_projects is
  'A page of the caller''s projects, newest first, after the given position.';

create function public.storage_list_generations(
  p_project_id text,
  p_limit integer,
  p_before bigint default 2147483648
)
returns jsonb
language sql stable
set search_path = ''
as $$
  select (
    select coalesce(jsonb_agg(page.item order by page.version desc), '[]')
    from (
      select g.version, public.storage_generation_json(g, p.active_version) as item
      from public.storage_generations g
      where g.project_id = p_project_id
        and g.deleted_at is null
        and g.version < p_before
      order by g.version desc
      limit p_limit
    ) page
  )
  from public.storage_projects p
  where p.id = p_project_id and p.deleted_at is null
$$;
comment on function public.storage_list_generations is
  'A page of a project''s generations, newest version first; null where the caller sees no such project.';

create function public.storage_get_generation(p_project_id text, p_version integer)
returns jsonb
language sql stable
set search_path = ''
as $$
  select public.storage_generation_json(g, p.active_version)
    || jsonb_build_object('bucket', g.bucket, 'object_key', g.object_key)
  from public.storage_generations g
  join public.storage_projects p on p.id = g.project_id
  where g.project_id = p_project_id and g.version = p_version
    and g.deleted_at is null and p.deleted_at is null
$$;
comment on function public.storage_get_generation is
  'One generation and where its archive is; null where the caller sees none.';

create function public.storage_show_generation(p_project_id text, p_version integer)
returns jsonb
language sql stable
set search_path = ''
as $$
  select public.storage_get_generation(p_project_id, p_version) || jsonb_build_object('metadata', (
    select m.manifest -> 'metadata' from public.storage_manifests m
    where m.project_id = p_project_id and m.version = p_version
  ))
$$;
comment on function public.storage_show_generation is
  'The same, with what was saved with it; that is null where it is not known.';

create function public.storage_get_generation_of(
  p_owner_id uuid,
  p_project_id text,
  p_version integer
)
returns jsonb
language sql stable
set search_path = ''
as $$
  select public.storage_get_generation(p_project_id, p_version)
  where exists (
    select 1 from public.storage_projects where id = p_project_id and owner_id = p_owner_id
  )
$$;
comment on function public.storage_get_generation_of is
  'The same for a user who is not the caller: for the function, which a signed URL tells who asks.';

create function public.storage_manifest_files(p_project_id text, p_version integer, p_folder text)
returns table (path text, size bigint, sha256 text, mode integer, tar_offset bigint)
language sql stable
set search_path = ''
as $$
  select listed.entry ->> 'path', (listed.entry ->> 'size')::bigint, listed.entry ->> 'sha256',
    (listed.entry ->> 'mode')::integer, listed.tar_offset::bigint
  from public.storage_manifests m
  cross join lateral (
    select case p_folder when 'source' then 'entries' else 'artifacts' end as name
  ) list
  cross join lateral rows from (
    jsonb_array_elements(m.manifest -> list.name),
    jsonb_array_elements_text(m.block_index -> list.name)
  ) as listed(entry, tar_offset)
  where m.project_id = p_project_id and m.version = p_version and m.manifest ? 'entries'
$$;
comment on function public.storage_manifest_files is
  'The files of a generation, and where in the tar their content begins where the archive has an index; p_folder is source or artifacts.';

create function public.storage_has_files(p_project_id text, p_version integer)
returns boolean
language sql stable
set search_path = ''
as $$
  select exists (
    select 1 from public.storage_manifests
    where project_id = p_project_id and version = p_version and manifest ? 'entries'
  )
$$;
comment on function public.storage_has_files is
  'Whether the manifest has sizes and hashes: that of the Python system has none.';

create function public.storage_list_files(
  p_project_id text,
  p_version integer,
  p_folder text,
  p_limit integer,
  p_after text default null
)
returns jsonb
language sql stable
set search_path = ''
as $$
  select public.storage_get_generation(p_project_id, p_version) || jsonb_build_object(
    'files', case when public.storage_has_files(p_project_id, p_version) then (
      select coalesce(jsonb_agg(to_jsonb(page) order by page.path collate "C"), '[]')
      from (
        select f.path, f.size, f.sha256, f.mode
        from public.storage_manifest_files(p_project_id, p_version, p_folder) f
        -- One without a path is not passed over in silence.
        where f.path is null or f.path collate "C" > coalesce(p_after, '')
        order by f.path collate "C"
        limit p_limit
      ) page
    ) end
  )
$$;
comment on function public.storage_list_files is
  'A generation and a page of its files by path; files is null where only the archive knows them.';

create function public.storage_find_files(
  p_project_id text,
  p_version integer,
  p_folder text,
  p_paths text[]
)
returns jsonb
language sql stable
set search_path = ''
as $$
  with generation as (
    select public.storage_get_generation(p_project_id, p_version) as json
  ), archive as materialized (
    select (m.block_index ->> 'block_bytes')::bigint as block_bytes, array(
      select o.value::bigint
      from jsonb_array_elements_text(m.block_index -> 'blocks') with ordinality as o(value, n)
      order by o.n
    ) as blocks
    from public.storage_manifests m
    where m.project_id = p_project_id and m.version = p_version
  )
  select generation.json || jsonb_build_object(
    'files', case when public.storage_has_files(p_project_id, p_version) then (
      select coalesce(jsonb_agg(jsonb_build_object(
        'path', f.path, 'size', f.size, 'sha256', f.sha256, 'mode', f.mode,
        'span', case when f.tar_offset is not null then jsonb_build_object(
          'begin', archive.blocks[1 + f.tar_offset / archive.block_bytes],
          -- The last block ends where the empty final block and the trailer of gzip begin.
          'end', coalesce(
            archive.blocks[2 + (f.tar_offset + greatest(f.size, 1) - 1) / archive.block_bytes],
            (generation.json ->> 'archive_bytes')::bigint - 10
          ),
          'skip', f.tar_offset % archive.block_bytes,
          'inflated_bytes', archive.block_bytes * (1
            + (f.tar_offset + greatest(f.size, 1) - 1) / archive.block_bytes
            - f.tar_offset / archive.block_bytes)
        ) end
      )), '[]')
      from public.storage_manifest_files(p_project_id, p_version, p_folder) f
      cross join archive
      where f.path = any (p_paths)
    ) end
  )
  from generation
$$;
comment on function public.storage_find_files is
  'A generation and those of the given files that it has, each with the span of the archive that holds it where there is an index: bytes from begin to before end, of whose inflated content, inflated_bytes at most, skip are passed over.';

create function public.storage_usage()
returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_build_object(
    'projects', (
      select count(*) from public.storage_projects
      where owner_id = (select auth.uid()) and deleted_at is null
    ),
    'generations', count(*),
    'archive_bytes', coalesce(sum(g.archive_bytes), 0),
    'source_bytes', coalesce(sum(g.source_bytes), 0)
  )
  from public.storage_generations g
  join public.storage_projects p on p.id = g.project_id
  where p.owner_id = (select auth.uid()) and p.deleted_at is null and g.deleted_at is null
$$;
comment on function public.storage_usage is 'How much the caller keeps, in all.';

-- What a user may change ---------------------------------------------------------------------
-- These run as the owner of the tables, so each checks auth.uid() itself. Whatever changes a project
-- and its generations locks the project first: two of them wait for each other in one order.

create function public.storage_create_project(p_name text)
returns jsonb
language plpgsql security definer
set search_path = ''
as $$
declare
  created public.storage_projects;
begin
  if auth.uid() is null then
    raise exception 'Cannot create a project: nobody is signed in' using errcode = '42501';
  end if;
  insert into public.storage_projects (id, owner_id, name)
  values (gen_random_uuid()::text, auth.uid(), p_name)
  returning * into created;
  return jsonb_build_object(
    'id', created.id, 'name', created.name, 'active_version', null,
    'created_at', created.created_at, 'versions', 0, 'archive_bytes', 0
  );
end
$$;

create function public.storage_activate_generation(
  p_project_id text,
  p_version integer,
  p_generation_id text default null
)
returns boolean
language plpgsql security definer
set search_path = ''
as $$
begin
  -- Whose it is comes first: nobody has another's wait.
  perform 1 from public.storage_projects
  where id = p_project_id and owner_id = auth.uid() for update;
  update public.storage_projects p
  set active_version = p_version, activated_at = now(), active_noted_at = now()
  where p.id = p_project_id and p.owner_id = auth.uid() and p.deleted_at is null
    and exists (
      select 1 from public.storage_generations g
      where g.project_id = p.id and g.version = p_version and g.deleted_at is null
        and (p_generation_id is null or g.generation_id = p_generation_id)
    );
  return found;
end
$$;
comment on function public.storage_activate_generation is
  'Makes a version the active one; false where the caller owns no such generation.';

-- Who may call -------------------------------------------------------------------------------
-- PostgreSQL lets everybody execute a new function, and hosted Supabase grants it to anon too.

do $$
declare
  called record;
  for_the_service constant text[] := array['storage_get_generation_of'];
  for_users constant text[] := array[
    'storage_generation_json', 'storage_list_projects', 'storage_list_generations',
    'storage_get_generation', 'storage_show_generation', 'storage_manifest_files', 'storage_has_files', 'storage_list_files',
    'storage_find_files', 'storage_usage', 'storage_create_project', 'storage_activate_generation'
  ];
begin
  for called in
    select p.oid::regprocedure as signature, p.proname
    from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace
      and p.proname = any (for_users || for_the_service)
  loop
    execute format('revoke all on function %s from public, anon, authenticated', called.signature);
    execute format('grant execute on function %s to service_role', called.signature);
    if called.proname = any (for_users) then
      execute format('grant execute on function %s to authenticated', called.signature);
    end if;
  end loop;
end
$$;
