-- Deleting, and undoing that. What is deleted or replaced is out of every reader's sight at once, and is kept
-- for a while. Then it is purged: from then on it cannot be undone, and its objects are removed. Hosts
-- follow what happened in one feed.

alter table public.storage_settings add constraint storage_settings_undelete_days check (
  case when name = 'undelete_days'
    then jsonb_typeof(value) = 'number' and (value #>> '{}')::numeric between 0 and 3650
    else true
  end
);
comment on table public.storage_settings is
  'What the operator sets, once for the whole project: price_per_gb, for a gigabyte that is kept for 30 days; undelete_days, for how long what is deleted or replaced can be undone, 7 where nothing is set, not at all where it is 0.';

create index storage_generations_to_purge
  on public.storage_generations (purge_at) where purge_at is not null;
create index storage_generations_undeletable
  on public.storage_generations (project_id, version desc) where purge_at is not null;
create index storage_archives_to_purge
  on public.storage_archives (purge_at) where state = 'kept';
create index storage_archives_kept
  on public.storage_archives (project_id, version desc) where state = 'kept';
create index storage_projects_deleted
  on public.storage_projects (owner_id, deleted_at desc, id desc) where deleted_at is not null;

create function public.storage_keep_until()
returns timestamptz
language sql stable
set search_path = ''
as $$
  select case when days > 0 then now() + days * interval '1 day' end
  from (
    select coalesce(
      (select (value #>> '{}')::double precision from public.storage_settings where name = 'undelete_days'),
      7
    ) as days
  ) setting
$$;
comment on function public.storage_keep_until is
  'Until when what is deleted or replaced now is kept; null where it is not.';

-- The feed -----------------------------------------------------------------------------------
-- A row a generation: whoever follows needs its last state alone. A transaction that changes one takes the
-- number away; the next reader gives the next one. So what is committed late has a late number, and
-- no reader has gone past it.

create sequence public.storage_change_numbers;

create table public.storage_changes (
  project_id text not null,
  version integer not null,
  -- Null until a reader has seen it.
  number bigint,
  noted_at timestamptz not null default now(),
  primary key (project_id, version),
  foreign key (project_id, version) references public.storage_generations (project_id, version)
    on delete cascade
);
comment on table public.storage_changes is
  'Which generations were deleted, undeleted, purged or replaced, in the order in which hosts hear of it.';

create unique index storage_changes_by_number on public.storage_changes (number);
create index storage_changes_without_number
  on public.storage_changes (noted_at, project_id, version) where number is null;

alter table public.storage_changes enable row level security;
revoke all on public.storage_changes from anon, authenticated;
revoke all on sequence public.storage_change_numbers from anon, authenticated;
grant all on public.storage_changes to service_role;
grant all on sequence public.storage_change_numbers to service_role;

create function public.storage_note_changes()
returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    insert into public.storage_changes (project_id, version)
    select project_id, version from after where deleted_at is not null
    order by project_id collate "C", version;
  else
    insert into public.storage_changes (project_id, version)
    select project_id, version
    from (
      select project_id, version, epoch, deleted_at from after
      except
      select project_id, version, epoch, deleted_at from before
    ) changed
    order by project_id collate "C", version
    on conflict (project_id, version) do update set number = null, noted_at = now();
  end if;
  return null;
end
$$;
comment on function public.storage_note_changes is
  'Has hosts hear of what a statement deleted, undeleted, purged or replaced.';

create trigger storage_generations_noted
  after insert on public.storage_generations referencing new table as after
  for each statement execute function public.storage_note_changes();
create trigger storage_generations_noted_again
  after update on public.storage_generations referencing old table as before new table as after
  for each statement execute function public.storage_note_changes();

create function public.storage_last_change()
returns bigint
language sql volatile
set search_path = ''
as $$
  select case when is_called then last_value else 0 end from public.storage_change_numbers
$$;
comment on function public.storage_last_change is
  'The last number that was given: a host which knows a higher one followed another database.';

create function public.storage_list_changes(p_limit integer, p_after bigint default 0)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  if exists (select 1 from public.storage_changes where number is null) then
    -- One reader at a time gives numbers, until its transaction ends. It waits for nobody who changes.
    perform pg_advisory_xact_lock(hashtext('public.storage_changes'));
    with unnumbered as (
      select project_id, version from public.storage_changes
      where number is null
      order by noted_at, project_id, version
      limit 10000
      for update skip locked
    ), numbered as (
      select project_id, version, nextval('public.storage_change_numbers') as number
      from unnumbered
    )
    update public.storage_changes c set number = n.number
    from numbered n
    where c.project_id = n.project_id and c.version = n.version;
  end if;
  return (
    select coalesce(jsonb_agg(to_jsonb(page) order by page.number), '[]')
    from (
      select c.number, g.project_id, g.version, g.generation_id, g.status, g.digest, g.epoch,
        g.purge_at
      from public.storage_changes c
      join public.storage_generations g using (project_id, version)
      where c.number > p_after
      order by c.number
      limit p_limit
    ) page
  );
end
$$;
comment on function public.storage_list_changes is
  'A page of what was deleted, undeleted, purged or replaced, as it is now, after the given number: hosts follow it.';

-- What is kept, and what goes ----------------------------------------------------------------
-- These are called with the project locked.

create function public.storage_has_arrived(archive public.storage_archives)
returns boolean
language sql stable
set search_path = ''
as $$
  select coalesce(
    archive.archive_bytes is null or (said ->> 'bytes')::bigint = archive.archive_bytes, false)
  from public.storage_object_of(archive.bucket, archive.object_key) said
  where said is not null
$$;
comment on function public.storage_has_arrived is
  'Whether the bucket has something of an archive''s size under its key, also where nobody recorded that; null: nothing is there.';

create function public.storage_keep_content(p_generation public.storage_generations)
returns void
language sql
set search_path = ''
as $$
  update public.storage_archives a
  set state = 'kept', state_at = now(), purge_at = public.storage_keep_until(),
    manifest = m.manifest, block_index = m.block_index,
    verified_at = case when a.object_key = p_generation.object_key then p_generation.verified_at end
  from (select 1) one
  left join public.storage_manifests m
    on m.project_id = p_generation.project_id and m.version = p_generation.version
  where a.project_id = p_generation.project_id and a.version = p_generation.version
    and public.storage_keep_until() is not null
    and (
      (a.state = 'current' and a.bucket = p_generation.bucket and a.object_key = p_generation.object_key)
      -- It got there, and nobody said so yet, or a database that was put back forgot it.
      or (a.state = 'expected' and a.digest = p_generation.digest and public.storage_has_arrived(a))
    )
$$;
comment on function public.storage_keep_content is
  'Keeps what a generation holds, for something else is about to take its place.';

create function public.storage_mark_deleted(
  p_project_id text,
  p_version integer,
  p_purge boolean default false
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  until constant timestamptz := case when not p_purge then public.storage_keep_until() end;
begin
  -- The key of a row that no host reserved is written down too.
  insert into public.storage_archives (
    bucket, object_key, project_id, version, digest, sha256, archive_bytes, source_bytes,
    file_count, created_at, state, current_at
  )
  select bucket, object_key, project_id, version, digest, sha256, archive_bytes, source_bytes,
    file_count, created_at, case when uploaded_at is null then 'expected' else 'current' end,
    uploaded_at
  from public.storage_generations
  where project_id = p_project_id and version = coalesce(p_version, version) and deleted_at is null
  on conflict do nothing;
  -- What is on its way is told when it gets there: it would be sent again.
  update public.storage_archives a
  set state = case
      when until is null then 'unneeded'
      when a.state = 'current' or public.storage_has_arrived(a) then 'kept'
      else 'unneeded'
    end,
    state_at = now(), purge_at = until
  from public.storage_generations g
  where a.project_id = p_project_id and a.version = coalesce(p_version, a.version)
    and a.state in ('expected', 'current')
    and g.project_id = a.project_id and g.version = a.version and g.deleted_at is null;
  update public.storage_generations g
  set status = 'deleted', deleted_at = now(), purge_at = until, epoch = g.epoch + 1,
    was_active = g.version is not distinct from p.active_version
  from public.storage_projects p
  where g.project_id = p_project_id and g.version = coalesce(p_version, g.version)
    and g.deleted_at is null and p.id = g.project_id;
  update public.storage_projects
  set active_version = null
  where id = p_project_id and active_version = coalesce(p_version, active_version);
  if until is null then
    perform public.storage_give_up(p_project_id, p_version, p_purge);
  end if;
end
$$;
comment on function public.storage_mark_deleted is
  'Leaves a tombstone of a version, or of all of a project where it is null. What they hold is kept for a while; it is given up at once where p_purge says so, or nothing is kept.';

create function public.storage_give_up(
  p_project_id text,
  p_version integer,
  p_is_all boolean default true
)
returns void
language sql
set search_path = ''
as $$
  update public.storage_archives a
  set state = 'unneeded', state_at = now(), purge_at = null, manifest = null, block_index = null
  from public.storage_generations g
  where a.project_id = p_project_id and a.version = coalesce(p_version, a.version)
    and a.state in ('expected', 'current', 'kept')
    and g.project_id = a.project_id and g.version = a.version
    and g.deleted_at is not null and g.purged_at is null
    and (p_is_all or (g.purge_at is null and a.object_key = g.object_key));
  delete from public.storage_manifests m
  using public.storage_generations g
  where m.project_id = p_project_id and m.version = coalesce(p_version, m.version)
    and g.project_id = m.project_id and g.version = m.version
    and g.deleted_at is not null and (p_is_all or g.purge_at is null);
  update public.storage_generations
  set purged_at = now(), purge_at = null, was_active = false, failure = null, sha256 = null,
    archive_bytes = null, source_bytes = null, file_count = null, epoch = epoch + 1
  where project_id = p_project_id and version = coalesce(p_version, version)
    and deleted_at is not null and purged_at is null and (p_is_all or purge_at is null);
$$;
comment on function public.storage_give_up is
  'Gives up what is deleted of a project, or of a version of it, or of that what is not kept at all: it cannot be undeleted any more, and its objects are to be removed. The tombstone stays, with the digest.';

create function public.storage_unneeded_of(p_project_id text, p_version integer)
returns jsonb
language plpgsql stable
set search_path = ''
as $$
begin
  return (
    select coalesce(
      jsonb_agg(jsonb_build_object('bucket', bucket, 'object_key', object_key) order by object_key), '[]')
    from public.storage_archives
    where project_id = p_project_id and version = p_version and state = 'unneeded'
  );
end
$$;
comment on function public.storage_unneeded_of is
  'The objects of a generation that are to be removed.';

create function public.storage_revive(
  p_project_id text,
  p_version integer,
  p_deleted_at timestamptz default null
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  was_active_version integer;
  revived integer;
begin
  select max(version) into was_active_version
  from public.storage_generations
  where project_id = p_project_id and version = coalesce(p_version, version) and was_active
    and deleted_at = coalesce(p_deleted_at, deleted_at) and purged_at is null;
  -- The same content may have got there in another host's archive.
  update public.storage_generations g
  set bucket = a.bucket, object_key = a.object_key, sha256 = a.sha256, archive_bytes = a.archive_bytes,
    source_bytes = coalesce(a.source_bytes, g.source_bytes), file_count = coalesce(a.file_count, g.file_count),
    uploaded_at = coalesce(a.current_at, now()), verified_at = a.verified_at, failure = null
  from (
    select distinct on (k.project_id, k.version) k.*
    from public.storage_generations d
    join public.storage_archives k using (project_id, version)
    where d.project_id = p_project_id and d.version = coalesce(p_version, d.version)
      and d.deleted_at = coalesce(p_deleted_at, d.deleted_at) and d.purged_at is null
      and k.state = 'kept' and k.digest = d.digest and public.storage_has_arrived(k)
    order by k.project_id, k.version, k.object_key = d.object_key desc,
      k.verified_at is not null desc, k.current_at is not null desc, k.state_at desc
  ) a
  where g.project_id = a.project_id and g.version = a.version and g.object_key <> a.object_key;
  update public.storage_archives a
  set state = 'current', state_at = now(), purge_at = null, current_at = coalesce(a.current_at, now())
  from public.storage_generations g
  where g.project_id = p_project_id and g.version = coalesce(p_version, g.version)
    and g.deleted_at = coalesce(p_deleted_at, g.deleted_at) and g.purged_at is null
    and a.bucket = g.bucket and a.object_key = g.object_key and a.state = 'kept';
  -- What the bucket has lost, or never had, is sent again by a host that has it.
  update public.storage_generations g
  set deleted_at = null, undeleted_at = now(), undeleted_by = null, purge_at = null, was_active = false,
    epoch = g.epoch + 1,
    uploaded_at = case when found.is_there then coalesce(uploaded_at, now()) else uploaded_at end,
    status = case
      when not found.is_there then case when failure is null then 'pending' else 'failed' end
      when verified_at is null then 'uploaded'
      else 'verified'
    end
  from (
    select project_id, version, public.storage_object_of(bucket, object_key) is not null
      and exists (
        select 1 from public.storage_archives a
        where a.bucket = d.bucket and a.object_key = d.object_key and a.state = 'current'
      )
      -- What is stored there is not what its host sent.
      and (uploaded_at is not null or failure is null) as is_there
    from public.storage_generations d
    where project_id = p_project_id and version = coalesce(p_version, version)
      and deleted_at = coalesce(p_deleted_at, deleted_at) and purged_at is null
  ) found
  where g.project_id = found.project_id and g.version = found.version;
  get diagnostics revived = row_count;
  update public.storage_projects
  set deleted_at = null,
    active_version = coalesce(active_version, was_active_version),
    active_noted_at = case
      when active_version is null and was_active_version is not null then now() else active_noted_at end,
    activated_at = case
      when active_version is null and was_active_version is not null then now() else activated_at end
  where id = p_project_id;
  return revived;
end
$$;
comment on function public.storage_revive is
  'Makes a deleted generation what it was, or all of a project that were deleted at a time, with the project; tells how many.';

create function public.storage_undelete(
  p_project_id text,
  p_version integer,
  p_generation_id text,
  p_digest text default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  g public.storage_generations;
  content public.storage_archives;
  is_deleted boolean;
begin
  select * into g from public.storage_generations
  where project_id = p_project_id and version = p_version
    and (p_generation_id is null or generation_id = p_generation_id)
  for update;
  if not found then
    return jsonb_build_object('outcome', 'missing');
  end if;
  is_deleted := g.deleted_at is not null;
  if g.purged_at is not null then
    return jsonb_build_object('outcome', 'purged', 'epoch', g.epoch);
  end if;
  if p_digest is not null and p_digest is distinct from g.digest then
    select * into content from public.storage_archives
    where project_id = p_project_id and version = p_version and state = 'kept' and digest = p_digest
    order by verified_at is not null desc, current_at is not null desc, state_at desc
    limit 1;
    if not found
      or public.storage_object_of(content.bucket, content.object_key) is null then
      return jsonb_build_object('outcome', 'no_content', 'generation_id', g.generation_id);
    end if;
  elsif not is_deleted then
    return jsonb_build_object('outcome', 'live', 'generation_id', g.generation_id,
      'digest', g.digest, 'status', g.status, 'epoch', g.epoch);
  end if;

  if is_deleted then
    perform public.storage_revive(p_project_id, p_version);
  end if;
  if content.digest is not null then
    select * into g from public.storage_generations
    where project_id = p_project_id and version = p_version;
    perform public.storage_keep_content(g);
    -- Nothing is to take the place that it comes back to.
    update public.storage_archives
    set state = 'unneeded', state_at = now()
    where project_id = p_project_id and version = p_version and state in ('expected', 'current');
    update public.storage_archives
    set state = 'current', state_at = now(), purge_at = null, manifest = null, block_index = null
    where bucket = content.bucket and object_key = content.object_key;
    update public.storage_generations
    set bucket = content.bucket, object_key = content.object_key, digest = content.digest,
      sha256 = content.sha256, archive_bytes = content.archive_bytes,
      source_bytes = content.source_bytes, file_count = content.file_count,
      created_at = coalesce(content.created_at, created_at), failure = null,
      uploaded_at = coalesce(content.current_at, now()), verified_at = content.verified_at,
      status = case when content.verified_at is null then 'uploaded' else 'verified' end,
      epoch = epoch + 1
    where project_id = p_project_id and version = p_version;
    delete from public.storage_manifests where project_id = p_project_id and version = p_version;
    insert into public.storage_manifests (project_id, version, manifest, block_index)
    select p_project_id, p_version, content.manifest, content.block_index
    where content.manifest is not null;
  end if;
  select * into g from public.storage_generations
  where project_id = p_project_id and version = p_version;
  return jsonb_build_object('outcome', 'undeleted', 'generation_id', g.generation_id,
    'digest', g.digest, 'status', g.status, 'epoch', g.epoch);
end
$$;
comment on function public.storage_undelete is
  'Undoes a deletion, or has a generation hold again what it held before it was replaced: undeleted; live where there is nothing to undo; purged, no_content or missing where that cannot be.';

-- What a user may change ---------------------------------------------------------------------

create function public.storage_delete_generation(
  p_project_id text,
  p_version integer,
  p_generation_id text default null,
  p_purge boolean default false
)
returns jsonb
language plpgsql security definer
set search_path = ''
as $$
declare
  target public.storage_generations;
  objects jsonb;
begin
  -- Whose it is comes first: nobody has another's wait.
  perform 1 from public.storage_projects
  where id = p_project_id and owner_id = auth.uid() for update;
  select g.* into target
  from public.storage_generations g
  join public.storage_projects p on p.id = g.project_id
  where g.project_id = p_project_id and g.version = p_version and p.owner_id = auth.uid()
    and (p_generation_id is null or g.generation_id = p_generation_id)
  for update of g;
  if not found then
    return null;
  end if;
  if target.deleted_at is null or (p_purge and target.purged_at is null) then
    perform public.storage_mark_deleted(p_project_id, p_version, p_purge);
  else
    objects := public.storage_unneeded_of(p_project_id, p_version);
    if objects = '[]' then
      return null;
    end if;
  end if;
  return jsonb_build_object(
    'generation_id', target.generation_id,
    'undelete_until', (
      select purge_at from public.storage_generations
      where project_id = p_project_id and version = p_version
    ),
    'objects', public.storage_unneeded_of(p_project_id, p_version)
  );
end
$$;
comment on function public.storage_delete_generation is
  'Leaves a tombstone and tells until when it can be undone (null: not at all), and which objects to remove; null where there is nothing of the caller''s left to delete.';

create function public.storage_delete_project(
  p_project_id text,
  p_limit integer,
  p_purge boolean default false
)
returns jsonb
language plpgsql security definer
set search_path = ''
as $$
declare
  target public.storage_projects;
  has_more boolean;
  objects jsonb;
  until timestamptz;
begin
  select * into target from public.storage_projects
  where id = p_project_id and owner_id = auth.uid() for update;
  if not found then
    return null;
  end if;
  has_more := target.deleted_at is null or (p_purge and exists (
    select 1 from public.storage_generations where project_id = p_project_id and purge_at is not null
  ));
  perform public.storage_mark_deleted(p_project_id, null, p_purge);
  update public.storage_projects
  set deleted_at = coalesce(deleted_at, now()), active_version = null
  where id = p_project_id;
  select coalesce(jsonb_agg(to_jsonb(owed)), '[]') into objects
  from (
    select bucket, object_key from public.storage_archives
    where project_id = p_project_id and state = 'unneeded'
    order by version, object_key
    limit p_limit
  ) owed;
  if not has_more and objects = '[]' then
    return null;
  end if;
  select max(purge_at) into until
  from public.storage_generations where project_id = p_project_id;
  return jsonb_build_object('undelete_until', until, 'objects', objects);
end
$$;
comment on function public.storage_delete_project is
  'Leaves tombstones of a project and of all in it, and tells until when that can be undone, and which objects to remove, so many at a time; null where there is nothing of the caller''s left to delete.';

create function public.storage_undelete_generation(
  p_project_id text,
  p_version integer,
  p_generation_id text default null,
  p_digest text default null
)
returns jsonb
language plpgsql security definer
set search_path = ''
as $$
begin
  perform 1 from public.storage_projects
  where id = p_project_id and owner_id = auth.uid() for update;
  if not found then
    return null;
  end if;
  return public.storage_undelete(p_project_id, p_version, p_generation_id, p_digest);
end
$$;
comment on function public.storage_undelete_generation is
  'What storage_undelete does, of a project of the caller''s; null for any other.';

create function public.storage_undelete_project(p_project_id text)
returns jsonb
language plpgsql security definer
set search_path = ''
as $$
declare
  project public.storage_projects;
begin
  select * into project from public.storage_projects
  where id = p_project_id and owner_id = auth.uid() for update;
  if not found then
    return null;
  end if;
  if project.deleted_at is null then
    return jsonb_build_object('outcome', 'live', 'versions', 0);
  end if;
  -- What was deleted before stays deleted. One that held nothing comes back empty.
  if not exists (
    select 1 from public.storage_generations
    where project_id = p_project_id and deleted_at = project.deleted_at and purged_at is null
  ) and exists (select 1 from public.storage_generations where project_id = p_project_id) then
    return jsonb_build_object('outcome', 'purged');
  end if;
  return jsonb_build_object('outcome', 'undeleted',
    'versions', public.storage_revive(p_project_id, null, project.deleted_at));
end
$$;
comment on function public.storage_undelete_project is
  'Undoes the deletion of a project of the caller''s, with the generations that were deleted with it: undeleted; live, or purged, where nothing is left to undo; null for any other.';

create function public.storage_list_deleted(
  p_project_id text,
  p_limit integer,
  p_before bigint default 2147483648
)
returns jsonb
language sql stable security definer
set search_path = ''
as $$
  select (
    select coalesce(jsonb_agg(page.item order by page.version desc), '[]')
    from (
      select g.version, public.storage_generation_json(g, p.active_version) || jsonb_build_object(
        'deleted_at', g.deleted_at, 'undelete_until', g.purge_at, 'replaced', (
          select coalesce(jsonb_agg(jsonb_build_object(
            'digest', a.digest, 'created_at', a.created_at, 'replaced_at', a.state_at,
            'undelete_until', a.purge_at, 'file_count', a.file_count,
            'source_bytes', a.source_bytes, 'archive_bytes', a.archive_bytes
          ) order by a.state_at desc), '[]')
          from (
            select distinct on (digest) * from public.storage_archives
            where project_id = g.project_id and version = g.version and state = 'kept'
              and digest is not null and digest is distinct from g.digest and object_key <> g.object_key
            order by digest, verified_at is not null desc, current_at is not null desc, state_at desc
          ) a
        )
      ) as item
      from (
        (
          select version from public.storage_generations
          where project_id = p_project_id and version < p_before and purge_at is not null
          order by version desc limit p_limit
        )
        union
        (
          select distinct a.version
          from public.storage_archives a
          join public.storage_generations replaced using (project_id, version)
          where a.project_id = p_project_id and a.version < p_before and a.state = 'kept'
            and a.digest is not null and a.digest is distinct from replaced.digest
            and a.object_key <> replaced.object_key
            and replaced.purged_at is null
          order by a.version desc limit p_limit
        )
      ) undoable
      join public.storage_generations g
        on g.project_id = p_project_id and g.version = undoable.version
      order by g.version desc
      limit p_limit
    ) page
  )
  from public.storage_projects p
  where p.id = p_project_id and p.owner_id = (select auth.uid())
$$;
comment on function public.storage_list_deleted is
  'A page of what can be undone in a project of the caller''s, newest version first: generations that are deleted, and those that held something else before, which replaced lists; null where the caller owns no such project.';

create function public.storage_list_deleted_projects(
  p_limit integer,
  p_before_deleted_at timestamptz default 'infinity',
  p_before_id text default ''
)
returns jsonb
language sql stable security definer
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(page) order by page.deleted_at desc, page.id desc), '[]')
  from (
    select p.id, p.name, null as active_version, p.created_at, p.deleted_at, total.*
    from public.storage_projects p
    cross join lateral (
      select count(*) as versions, coalesce(sum(g.archive_bytes), 0) as archive_bytes,
        max(g.purge_at) as undelete_until
      from public.storage_generations g
      where g.project_id = p.id and g.purge_at is not null and g.deleted_at = p.deleted_at
    ) total
    where p.deleted_at is not null and p.owner_id = (select auth.uid())
      and (p.deleted_at, p.id) < (p_before_deleted_at, p_before_id) and total.versions > 0
    order by p.deleted_at desc, p.id desc
    limit p_limit
  ) page
$$;
comment on function public.storage_list_deleted_projects is
  'A page of the caller''s projects whose deletion can be undone, the last one first; those that came with it and cannot are left out.';

-- What hosts record --------------------------------------------------------------------------

create function public.storage_record_deletion(
  p_bucket text,
  p_project_id text,
  p_version integer,
  p_generation_id text,
  p_digests text[] default null,
  p_host_id uuid default null,
  p_sent_keys text[] default null,
  p_deleted_at timestamptz default null,
  p_epoch integer default 0,
  p_must_be_known boolean default false,
  p_sent jsonb default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  existing public.storage_generations;
begin
  if p_must_be_known and not exists (
    select 1 from public.storage_generations
    where project_id = p_project_id and version = p_version
  ) then
    return jsonb_build_object('outcome', 'other');
  end if;
  insert into public.storage_projects (id) values (p_project_id) on conflict do nothing;
  perform 1 from public.storage_projects where id = p_project_id for update;
  if not found then
    return jsonb_build_object('outcome', 'other');
  end if;
  -- A reservation that is still on its way must find the tombstone. The host may have what it names.
  insert into public.storage_generations (
    project_id, version, generation_id, bucket, object_key, digest, status, deleted_at, purge_at,
    purged_at
  ) values (
    p_project_id, p_version, p_generation_id, p_bucket,
    public.storage_free_key(p_bucket, p_project_id, p_version, p_generation_id, ''),
    p_digests[1], 'deleted', now(), public.storage_keep_until(),
    case when public.storage_keep_until() is null then now() end
  ) on conflict (project_id, version) do nothing;
  select * into existing from public.storage_generations
  where project_id = p_project_id and version = p_version for update;
  if existing.generation_id <> p_generation_id
    or (existing.deleted_at is null and existing.digest <> all (p_digests) and not exists (
      -- What the host was about to replace it with.
      select 1 from public.storage_archives a
      where a.project_id = p_project_id and a.version = p_version and a.state = 'expected'
        and a.host_id = p_host_id and (
          (a.digest = any (p_digests) and a.follows = existing.epoch)
          -- What it was about to put there, and replaced before it got there: it may not know any
          -- more which content that was, where the answer to its reservation was lost.
          or (a.object_key = existing.object_key
            and existing.status not in ('uploaded', 'verified'))
        )
    )) then
    return jsonb_build_object('outcome', 'other');
  end if;
  if existing.deleted_at is null and existing.undeleted_at > p_deleted_at
    and p_epoch < existing.epoch and coalesce(existing.undeleted_by = p_host_id, true) then
    -- It was undone since, and the host has not heard of that.
    return jsonb_build_object('outcome', 'undeleted', 'epoch', existing.epoch);
  end if;
  -- Of a database that was put back nobody may know where it lies.
  insert into public.storage_archives (
    bucket, object_key, project_id, version, digest, sha256, archive_bytes, host_id, follows, state, purge_at
  )
  select p_bucket, sent.object_key, p_project_id, p_version, p_digests[1], sent.sha256,
    (public.storage_object_of(p_bucket, sent.object_key) ->> 'bytes')::bigint, p_host_id, existing.epoch,
    case
      when existing.deleted_at is null then 'expected'
      when existing.purge_at is null then 'unneeded'
      else 'kept'
    end,
    existing.purge_at
  from (
    select p_sent ->> 'sent_key' as object_key, p_sent ->> 'sha256' as sha256, p_sent ->> 'md5' as md5
  ) sent
  where p_digests[1] is not null and sent.sha256 is not null
    and sent.object_key like format('%s/generations/v%s\_\_%%',
      replace(p_project_id, '_', '\_'), p_version)
    and public.storage_is_archive(p_bucket, sent.object_key, sent.md5, sent.sha256)
  on conflict do nothing;
  perform public.storage_note_keys(p_bucket, p_project_id, p_version, p_sent_keys);
  perform public.storage_mark_deleted(p_project_id, p_version);
  select * into existing from public.storage_generations
  where project_id = p_project_id and version = p_version;
  return jsonb_build_object('outcome', 'recorded', 'epoch', existing.epoch,
    'undelete_until', existing.purge_at,
    'kept', exists (
      select 1 from public.storage_archives a
      where a.bucket = existing.bucket and a.object_key = existing.object_key and a.state = 'kept'
    ),
    'unneeded', public.storage_unneeded_of(p_project_id, p_version));
end
$$;
comment on function public.storage_record_deletion is
  'Leaves a tombstone for what a host deleted, also where it was never here: recorded, with until when that can be undone, whether its content is kept here, and the objects to remove; undeleted where that was undone since; or other where the name has other content than the host knows of, or was never here and must be known.';

create function public.storage_record_undeletion(
  p_project_id text,
  p_version integer,
  p_generation_id text,
  p_digest text default null,
  p_host_id uuid default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  answer jsonb;
  counted integer;
begin
  perform 1 from public.storage_projects where id = p_project_id for update;
  answer := public.storage_undelete(p_project_id, p_version, p_generation_id, p_digest);
  if answer ->> 'outcome' = 'live' and p_host_id is not null then
    -- The host has undone a deletion of its own that never got here. It may still come: it is of an earlier epoch then.
    update public.storage_generations
    set undeleted_at = now(), undeleted_by = p_host_id, epoch = epoch + 1
    where project_id = p_project_id and version = p_version
    returning epoch into counted;
    return answer || jsonb_build_object('epoch', counted);
  end if;
  return answer;
end
$$;
comment on function public.storage_record_undeletion is
  'What storage_undelete does, as a host asks for it. Where it says which it is, it has undone a deletion of its own: that changes nothing where it comes after.';

create function public.storage_purge(p_limit integer)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  due record;
  deleted record;
  counted integer;
  generations integer := 0;
  contents integer := 0;
begin
  for due in
    select project_id from (
      (select project_id, purge_at from public.storage_generations
        where purge_at <= now() order by purge_at limit p_limit)
      union all
      (select project_id, purge_at from public.storage_archives
        where state = 'kept' and purge_at <= now() order by purge_at limit p_limit)
    ) found
    group by project_id
    order by project_id collate "C"
  loop
    perform 1 from public.storage_projects where id = due.project_id for update;
    for deleted in
      select version from public.storage_generations
      where project_id = due.project_id and purge_at <= now()
      order by version
      limit greatest(p_limit - generations, 0)
    loop
      perform public.storage_give_up(due.project_id, deleted.version);
      generations := generations + 1;
    end loop;
    update public.storage_archives a
    set state = 'unneeded', state_at = now(), purge_at = null, manifest = null, block_index = null
    where a.project_id = due.project_id and a.state = 'kept' and a.purge_at <= now()
      -- What a deleted one holds goes with it.
      and not exists (
        select 1 from public.storage_generations g
        where g.project_id = a.project_id and g.version = a.version
          and g.object_key = a.object_key and g.purge_at is not null
      );
    get diagnostics counted = row_count;
    contents := contents + counted;
  end loop;
  return jsonb_build_object('generations', generations, 'contents', contents, 'objects', (
    select coalesce(jsonb_agg(jsonb_build_object('bucket', bucket, 'object_key', object_key)), '[]')
    from public.storage_archives
    -- Of this transaction: what was unneeded before is whoever's it is.
    where state = 'unneeded' and state_at = now()
  ));
end
$$;
comment on function public.storage_purge is
  'Gives up for good what is kept no longer, so much of it at a time, and tells how many generations and replaced contents that were, both 0 once nothing is due, and which objects to remove. From then on nothing of it can be undone.';

create function public.storage_record_removals(p_objects jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  freed bigint;
begin
  perform 1 from public.storage_projects
  where id in (
    select a.project_id
    from public.storage_archives a
    join jsonb_to_recordset(p_objects) as gone (bucket text, object_key text)
      using (bucket, object_key)
  )
  order by id collate "C" for update;
  with removed as (
    update public.storage_archives a
    set state = 'removed', state_at = now(),
        look_again_at = case when a.state = 'unneeded'
          -- As long as a token for an upload is good, and a while.
          then now() + interval '130 minutes'
        end
    from jsonb_to_recordset(p_objects) as gone (bucket text, object_key text)
    where a.bucket = gone.bucket and a.object_key = gone.object_key
      and (a.state = 'unneeded' or (a.state = 'removed' and a.look_again_at <= now()))
    returning a.current_at, a.archive_bytes, a.look_again_at
  )
  select coalesce(sum(archive_bytes) filter (where current_at is not null and look_again_at is not null), 0)
  into freed from removed;
  return jsonb_build_object('outcome', 'recorded', 'freed_bytes', freed);
end
$$;
comment on function public.storage_record_removals is
  'Notes that unneeded objects are out of the bucket, and tells how many bytes of archives that were there that freed. Each is looked for once more, two hours later.';

create function public.storage_list_unneeded(p_limit integer)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(page)), '[]')
  from (
    (
      select bucket, object_key from public.storage_archives
      -- Whoever made it unneeded mostly removes it at once.
      where state = 'unneeded' and state_at < now() - interval '5 minutes'
      order by state_at limit p_limit
    )
    union all
    (
      select bucket, object_key from public.storage_archives
      where look_again_at is not null and look_again_at <= now()
      order by look_again_at limit p_limit
    )
    limit p_limit
  ) page
$$;
comment on function public.storage_list_unneeded is
  'Objects that somebody should have removed, or that are to be looked for once more: any host removes them.';

-- Who may call -------------------------------------------------------------------------------
-- PostgreSQL lets everybody execute a new function, and hosted Supabase grants it to anon too.

do $$
declare
  called record;
  for_the_service constant text[] := array[
    'storage_keep_until', 'storage_note_changes', 'storage_last_change', 'storage_list_changes', 'storage_keep_content',
    'storage_has_arrived', 'storage_mark_deleted', 'storage_give_up', 'storage_unneeded_of', 'storage_revive',
    'storage_undelete',
    'storage_record_deletion', 'storage_record_undeletion', 'storage_purge',
    'storage_record_removals', 'storage_list_unneeded'
  ];
  for_users constant text[] := array[
    'storage_delete_generation', 'storage_delete_project', 'storage_undelete_generation',
    'storage_undelete_project', 'storage_list_deleted', 'storage_list_deleted_projects'
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
