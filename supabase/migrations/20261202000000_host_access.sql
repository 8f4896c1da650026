-- What a host does with its key. Each of these checks the key, the right and the scope in the transaction that does
-- the work, and then has the function for the secret key do it. A host writes only into projects that it created or
-- was assigned; what is not its own looks to it like what is not there. The bucket is the host's, keys of objects are
-- those that the database gave out: what a request says of either is not asked. What is refused is raised as PT401 or
-- PT403, which PostgREST answers with that status.

create function public.storage_host_of(p_sha256 text)
returns public.storage_hosts
language plpgsql
set search_path = ''
as $$
declare
  host public.storage_hosts;
begin
  select h.* into host
  from public.storage_host_keys k
  join public.storage_hosts h on h.id = k.host_id
  where k.sha256 = p_sha256 and (k.expires_at is null or k.expires_at > now())
    and h.revoked_at is null
  -- Revoking waits for what is under way, and nothing begins after it.
  for share of k;
  if not found then
    raise exception 'the key of the host is not valid' using errcode = 'PT401';
  end if;
  perform set_config('codebegen.host', host.id::text, true);
  return host;
end
$$;
comment on function public.storage_host_of is
  'Whose a key is, by its sha256; raises PT401 where it is nobody''s, has ended, or was revoked. What the transaction makes from here on is that host''s.';

create function public.storage_check_may_delete(p_host public.storage_hosts)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if p_host.delete_scope <> 'own' then
    raise exception 'the host may not delete' using errcode = 'PT403';
  end if;
end
$$;
comment on function public.storage_check_may_delete is
  'Raises PT403 where a host has no right to delete.';

create function public.storage_host_agent(p_host public.storage_hosts, p_host_id text)
returns uuid
language sql immutable
set search_path = ''
as $$
  -- Several agents may have one key. None can say that it is another host's.
  select md5(p_host.id::text || '/' || coalesce(p_host_id, ''))::uuid
$$;
comment on function public.storage_host_agent is 'How an agent of a host is called in the database.';

create function public.storage_may_write(
  p_host public.storage_hosts,
  p_project public.storage_projects
)
returns boolean
language sql stable
set search_path = ''
as $$
  select p_project.created_by is not distinct from p_host.id or exists (
    select 1 from public.storage_host_projects
    where host_id = p_host.id and project_id = p_project.id
  )
$$;
comment on function public.storage_may_write is
  'Whether a host created a project, or was assigned it.';

create function public.storage_holds_all(
  p_host public.storage_hosts,
  p_project public.storage_projects
)
returns boolean
language sql stable
set search_path = ''
as $$
  select (p_project.created_by is not distinct from p_host.id or exists (
    select 1 from public.storage_generations
    where reserved_by = p_host.id and project_id = p_project.id
  )) and not exists (
    select 1 from public.storage_generations
    where project_id = p_project.id and reserved_by is distinct from p_host.id
  )
$$;
comment on function public.storage_holds_all is
  'Whether all generations of a project are a host''s: then it may say, and is told, whose the project is.';

create function public.storage_had_part(
  p_host public.storage_hosts,
  p_generation public.storage_generations
)
returns boolean
language sql stable
set search_path = ''
as $$
  select p_generation.reserved_by is not distinct from p_host.id or exists (
    select 1 from public.storage_archives
    where project_id = p_generation.project_id and version = p_generation.version
      and reserved_by = p_host.id
  )
$$;
comment on function public.storage_had_part is
  'Whether what a generation holds, or held, or was to hold, is a host''s.';

create function public.storage_sent_key(p_host public.storage_hosts, p_item jsonb)
returns text
language sql stable
set search_path = ''
as $$
  select p_item ->> 'sent_key'
  where p_item ->> 'sent_key' like format('%s/generations/v%s\_\_%%',
      replace(p_item ->> 'project_id', '_', '\_'), p_item ->> 'version')
    and public.storage_is_archive(p_host.bucket, p_item ->> 'sent_key', p_item ->> 'md5',
      p_item ->> 'sha256')
$$;
comment on function public.storage_sent_key is
  'What a host says that it has sent of a version, where that lies there and the host knows its hash: a database that was put back may not know of it. Else null.';

-- Saving -----------------------------------------------------------------------------------------

create function public.storage_host_reserve_one(p_host public.storage_hosts, p_item jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  named constant text := p_item ->> 'project_id';
  project public.storage_projects;
  existing public.storage_generations;
  holds_all boolean;
  answer jsonb;
  not_yours constant jsonb := jsonb_build_object('outcome', 'conflict', 'cause', 'project',
    'reason', 'the host may not write to a project of this id', 'unneeded', '[]'::jsonb);
begin
  -- Whose it is comes first: nobody has another's wait.
  select * into project from public.storage_projects where id = named;
  if found and not public.storage_may_write(p_host, project) then
    return not_yours;
  end if;
  insert into public.storage_projects (id) values (named) on conflict do nothing;
  select * into project from public.storage_projects where id = named for update;
  -- Another host may have been quicker, also in other case.
  if not found or not public.storage_may_write(p_host, project) then
    return not_yours;
  end if;
  select * into existing from public.storage_generations
  where project_id = named and version = (p_item ->> 'version')::integer;
  if found and existing.reserved_by is distinct from p_host.id then
    return jsonb_build_object('outcome', 'conflict', 'cause', 'version',
      'reason', 'the version is taken', 'unneeded', '[]'::jsonb);
  end if;
  holds_all := public.storage_holds_all(p_host, project);
  answer := public.storage_reserve_generation(p_item || jsonb_build_object(
    'bucket', p_host.bucket, 'object_key', null, 'earlier_keys', '[]'::jsonb,
    'host_id', public.storage_host_agent(p_host, p_item ->> 'host_id'),
    'owner_id', case when holds_all then p_item ->> 'owner_id' end,
    'sent_key', public.storage_sent_key(p_host, p_item)
  ));
  if answer ->> 'outcome' = 'reserved' and answer ->> 'status' = 'pending' and not exists (
    select 1 from public.storage_archives a
    where a.bucket = p_host.bucket and a.object_key = answer ->> 'object_key'
      and a.reserved_by = p_host.id
  ) then
    return jsonb_build_object('outcome', 'conflict', 'cause', 'content',
      'reason', 'another host is about to send the same content', 'unneeded', '[]'::jsonb);
  end if;
  return case when holds_all then answer else answer || '{"owner_id": null}' end;
end
$$;
comment on function public.storage_host_reserve_one is
  'What storage_reserve_generation does, where the host may: else a conflict that says nothing of what is there.';

create function public.storage_host_reserve(p_sha256 text, p_items jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
  item jsonb;
  answers jsonb := '[]';
begin
  for item in
    select given from jsonb_array_elements(p_items) given
    order by given ->> 'project_id' collate "C", (given ->> 'version')::integer
  loop
    answers := answers || (
      jsonb_build_object('project_id', item -> 'project_id', 'version', item -> 'version')
      || public.storage_host_reserve_one(host, item)
      || jsonb_build_object('bucket', host.bucket)
    );
  end loop;
  return answers;
end
$$;
comment on function public.storage_host_reserve is
  'Reserves several, in the order of their names: of each its project_id, its version, the bucket and what storage_host_reserve_one says.';

create function public.storage_host_uploads(p_sha256 text, p_object_keys text[])
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object('bucket', a.bucket, 'object_key', a.object_key)), '[]')
    from public.storage_archives a
    join public.storage_generations g using (project_id, version)
    where a.bucket = host.bucket and a.object_key = any (p_object_keys)
      and a.reserved_by = host.id and a.state in ('expected', 'current') and g.deleted_at is null
      and public.storage_object_of(a.bucket, a.object_key) is null
  );
end
$$;
comment on function public.storage_host_uploads is
  'Those of the given keys that the host reserved, where nothing lies yet: it may be given a token for them.';

create function public.storage_host_record_one(p_host public.storage_hosts, p_item jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  existing public.storage_generations;
  answer jsonb;
begin
  select g.* into existing
  from public.storage_archives a
  join public.storage_generations g using (project_id, version)
  where a.bucket = p_host.bucket and a.object_key = p_item ->> 'object_key'
    and a.project_id = p_item ->> 'project_id' and a.version = (p_item ->> 'version')::integer
    and a.reserved_by = p_host.id;
  if not found then
    return '{"outcome": "missing"}';
  end if;
  answer := case p_item ->> 'status'
    when 'damaged' then public.storage_record_damage(p_host.bucket, existing.project_id,
      existing.version, p_item ->> 'object_key')
    else public.storage_record_generation(
      p_item || jsonb_build_object('bucket', p_host.bucket, 'status', 'uploaded'))
  end;
  if answer ? 'object_key' and not exists (
    select 1 from public.storage_generations g
    where g.project_id = existing.project_id and g.version = existing.version
      and g.reserved_by = p_host.id
  ) then
    -- What took its place is another's.
    return answer || '{"digest": null, "sha256": null, "object_key": ""}';
  end if;
  return answer;
end
$$;
comment on function public.storage_host_record_one is
  'What storage_record_generation does, of an archive that the host reserved, or storage_record_damage, where its status is damaged; missing for any other. It is verified by what Storage says alone.';

create function public.storage_host_record(p_sha256 text, p_items jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
  item jsonb;
  answers jsonb := '[]';
begin
  for item in
    select given from jsonb_array_elements(p_items) given
    order by given ->> 'project_id' collate "C", (given ->> 'version')::integer
  loop
    answers := answers || (
      jsonb_build_object('project_id', item -> 'project_id', 'version', item -> 'version')
      || public.storage_host_record_one(host, item)
    );
  end loop;
  return answers;
end
$$;
comment on function public.storage_host_record is
  'Records several, in the order of their names: of each its project_id, its version and what storage_host_record_one says.';

create function public.storage_host_prove(
  p_sha256 text,
  p_project_id text,
  p_version integer,
  p_object_key text,
  p_proven text
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
begin
  if not exists (
    select 1 from public.storage_archives
    where bucket = host.bucket and object_key = p_object_key and reserved_by = host.id
  ) then
    return '{"outcome": "missing"}';
  end if;
  return public.storage_record_generation(jsonb_build_object(
    'project_id', p_project_id, 'version', p_version, 'bucket', host.bucket,
    'object_key', p_object_key, 'sha256', p_proven, 'status', 'verified'
  ));
end
$$;
comment on function public.storage_host_prove is
  'Notes that the object of a host was read, with the sha256 that was found: verified where it is the one that was reserved, else missing. For the function, which read it.';

create function public.storage_host_fail(
  p_sha256 text,
  p_project_id text,
  p_version integer,
  p_generation_id text,
  p_digest text,
  p_reason text
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
begin
  if not exists (
    select 1 from public.storage_generations
    where project_id = p_project_id and version = p_version and reserved_by = host.id
  ) then
    return '{"outcome": "other"}';
  end if;
  return public.storage_record_failure(p_project_id, p_version, p_generation_id, p_digest, p_reason);
end
$$;
comment on function public.storage_host_fail is
  'What storage_record_failure does, of a generation of the host''s; other for any other.';

-- Reading ----------------------------------------------------------------------------------------

create function public.storage_host_find(p_sha256 text, p_items jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
  reads_all constant boolean := host.read_scope = 'all';
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
      'project_id', given.project_id,
      'version', given.version,
      'row', (
        select jsonb_build_object(
          'project_id', g.project_id, 'version', g.version, 'generation_id', g.generation_id,
          'bucket', g.bucket, 'status', g.status, 'digest', g.digest, 'epoch', g.epoch
        ) || case when reads_all or g.reserved_by = host.id
          then jsonb_build_object('object_key', g.object_key, 'sha256', g.sha256,
            'archive_bytes', g.archive_bytes)
          else '{"object_key": "", "sha256": null, "archive_bytes": null}'
        end
        from public.storage_generations g
        where g.project_id = given.project_id and g.version = given.version
          and (reads_all or public.storage_had_part(host, g))
      ),
      -- In its own projects it learns which versions are taken.
      'highest_version', case when given.version is null then coalesce((
        select max(g.version)
        from public.storage_generations g
        join public.storage_projects p on p.id = g.project_id
        where g.project_id = given.project_id and case
          when given.generation_id is null then reads_all or public.storage_may_write(host, p)
            or g.reserved_by = host.id
          else g.generation_id = given.generation_id and (reads_all or g.reserved_by = host.id)
        end
      ), 0) end
    ) order by given.n), '[]')
    from rows from (
      jsonb_to_recordset(p_items) as (project_id text, version integer, generation_id text)
    ) with ordinality as given (project_id, version, generation_id, n)
  );
end
$$;
comment on function public.storage_host_find is
  'Of each item, in their order: the row of a version, or null; where none is named the highest version that is taken, 0 where the host has no part in the project. Of what took the place of the host''s own it is told the digest alone.';

create function public.storage_host_downloads(p_sha256 text, p_items jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
begin
  return (
    select coalesce(jsonb_agg(
      jsonb_build_object('project_id', given.project_id, 'version', given.version)
      || coalesce((
        select jsonb_build_object('bucket', a.bucket, 'object_key', a.object_key,
          'etag', said.object ->> 'md5', 'bytes', said.object -> 'bytes',
          'sha256', said.object ->> 'sha256')
        from public.storage_generations g
        join public.storage_archives a using (project_id, version)
        cross join lateral (select public.storage_object_of(a.bucket, a.object_key) as object) said
        where g.project_id = given.project_id and g.version = given.version
          and g.deleted_at is null and said.object is not null
          and a.object_key = coalesce(given.object_key, g.object_key)
          and case
            when a.reserved_by = host.id then a.state in ('expected', 'current')
            else host.read_scope = 'all' and a.state = 'current'
          end
        limit 1
      ), '{"object_key": null}')
    order by given.n), '[]')
    from rows from (
      jsonb_to_recordset(p_items) as (project_id text, version integer, object_key text)
    ) with ordinality as given (project_id, version, object_key, n)
  );
end
$$;
comment on function public.storage_host_downloads is
  'Of each item, in their order: where its archive lies, with what Storage says of it; object_key is null where there is none that the host may read.';

create function public.storage_host_list_projects(
  p_sha256 text,
  p_limit integer,
  p_after text default '',
  p_only text default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
begin
  if host.read_scope = 'all' then
    return public.storage_list_all_projects(p_limit, p_after, p_only);
  end if;
  return (
    select coalesce(jsonb_agg(to_jsonb(page) order by page.project_id collate "C"), '[]')
    from (
      select p.id as project_id, p.deleted_at is not null as is_deleted, total.*,
        case when public.storage_holds_all(host, p) then p.owner_id end as owner_id,
        case when exists (
          select 1 from public.storage_generations g
          where g.project_id = p.id and g.version = p.active_version and g.reserved_by = host.id
        ) then p.active_version end as active_version,
        (
          select coalesce(max(g.version), 0) from public.storage_generations g
          where g.project_id = p.id
            and (g.reserved_by = host.id or public.storage_may_write(host, p))
        ) as latest_version
      from public.storage_projects p
      cross join lateral (
        select count(*) as known,
          count(*) filter (where g.status in ('uploaded', 'verified')) as versions,
          coalesce(sum(g.archive_bytes) filter (where g.status in ('uploaded', 'verified')), 0) as bytes
        from public.storage_generations g
        where g.project_id = p.id and g.reserved_by = host.id
      ) total
      where p.id collate "C" > p_after and p.id = coalesce(p_only, p.id)
        and (p.created_by = host.id or total.known > 0)
      order by p.id collate "C"
      limit p_limit
    ) page
  );
end
$$;
comment on function public.storage_host_list_projects is
  'What storage_list_all_projects lists, of that in which the host has a part; counted is what is its own.';

create function public.storage_host_list_generations(
  p_sha256 text,
  p_limit integer,
  p_project_id text,
  p_after integer default 0
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
begin
  if host.read_scope = 'all' then
    return public.storage_list_all_generations(p_limit, p_project_id, p_after);
  end if;
  return (
    select coalesce(jsonb_agg(to_jsonb(page) order by page.version), '[]')
    from (
      select g.project_id, g.version, g.generation_id, g.bucket, g.object_key, g.status, g.failure,
        g.digest, g.sha256, g.archive_bytes, g.source_bytes, g.file_count, g.created_at,
        g.uploaded_at, g.deleted_at, g.purge_at, g.epoch
      from public.storage_generations g
      where g.project_id = p_project_id and g.version > p_after and g.reserved_by = host.id
      order by g.version
      limit p_limit
    ) page
  );
end
$$;
comment on function public.storage_host_list_generations is
  'What storage_list_all_generations lists, of that what is the host''s own.';

create function public.storage_host_list_changes(
  p_sha256 text,
  p_limit integer,
  p_after bigint default 0,
  p_looked_at integer default 10000
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
begin
  -- Gives numbers to what has none.
  perform public.storage_list_changes(0);
  return (
    with looked_at as materialized (
      select number, project_id, version
      from public.storage_changes
      where number > p_after
      order by number
      limit p_looked_at
    ), page as materialized (
      select l.number, g.project_id, g.version, g.generation_id, g.status, g.digest, g.epoch,
        g.purge_at
      from looked_at l
      join public.storage_generations g using (project_id, version)
      where host.read_scope = 'all' or public.storage_had_part(host, g)
      order by l.number
      limit p_limit
    ), counted as (
      select (select count(*) from page) = p_limit as is_full,
        (select count(*) from looked_at) = p_looked_at as is_cut
    )
    select jsonb_build_object(
      'items', (select coalesce(jsonb_agg(to_jsonb(page) order by page.number), '[]') from page),
      -- Whoever has no part in the rest does not look at it again.
      'through', case when is_full then (select max(number) from page)
        else coalesce((select max(number) from looked_at), p_after) end,
      'has_more', is_full or is_cut)
    from counted
  );
end
$$;
comment on function public.storage_host_list_changes is
  'What storage_list_changes lists, of that in which the host has a part; with the number through which it was looked, in so many changes at most, and whether there may be more.';

create function public.storage_host_list_active(
  p_sha256 text,
  p_limit integer,
  p_after_at timestamptz default '-infinity',
  p_after_id text default ''
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
begin
  if host.read_scope = 'all' then
    return public.storage_list_active(p_limit, p_after_at, p_after_id);
  end if;
  return (
    select coalesce(jsonb_agg(to_jsonb(page) order by page.noted_at, page.project_id), '[]')
    from (
      select p.id as project_id, g.version, g.generation_id, p.activated_at,
        p.active_noted_at as noted_at
      from public.storage_projects p
      join public.storage_generations g on g.project_id = p.id and g.version = p.active_version
      where p.active_noted_at is not null
        and (p.active_noted_at, p.id) > (p_after_at, p_after_id) and g.reserved_by = host.id
      order by p.active_noted_at, p.id
      limit p_limit
    ) page
  );
end
$$;
comment on function public.storage_host_list_active is
  'What storage_list_active lists, of that what is the host''s own.';

-- Changing ---------------------------------------------------------------------------------------

create function public.storage_host_delete(p_sha256 text, p_item jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
  given record;
  project public.storage_projects;
  existing public.storage_generations;
begin
  perform public.storage_check_may_delete(host);
  select * into given from jsonb_to_record(p_item) as item (
    project_id text, version integer, generation_id text, digests text[], host_id text,
    deleted_at timestamptz, epoch integer
  );
  select * into project from public.storage_projects where id = given.project_id;
  if not found or not (public.storage_may_write(host, project) or exists (
    select 1 from public.storage_generations g
    where g.project_id = given.project_id and g.version = given.version and g.reserved_by = host.id
  )) then
    return '{"outcome": "other"}';
  end if;
  perform 1 from public.storage_projects where id = given.project_id for update;
  select * into existing from public.storage_generations
  where project_id = given.project_id and version = given.version;
  if found and existing.reserved_by is distinct from host.id then
    return '{"outcome": "other"}';
  end if;
  return public.storage_record_deletion(host.bucket, given.project_id, given.version,
    given.generation_id, given.digests, public.storage_host_agent(host, given.host_id),
    array_remove(array[public.storage_sent_key(host, p_item)], null), given.deleted_at,
    coalesce(given.epoch, 0), false, p_item);
end
$$;
comment on function public.storage_host_delete is
  'What storage_record_deletion does, of a generation of the host''s, or of a version of a project of its own that nobody has; other for any other. Raises PT403 without the right.';

create function public.storage_host_undelete(
  p_sha256 text,
  p_project_id text,
  p_version integer,
  p_generation_id text default null,
  p_digest text default null,
  p_host_id text default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
  existing public.storage_generations;
begin
  perform public.storage_check_may_delete(host);
  select * into existing from public.storage_generations
  where project_id = p_project_id and version = p_version and reserved_by = host.id;
  if not found then
    return '{"outcome": "missing"}';
  end if;
  perform 1 from public.storage_projects where id = p_project_id for update;
  select * into existing from public.storage_generations
  where project_id = p_project_id and version = p_version and reserved_by = host.id;
  if not found then
    return '{"outcome": "missing"}';
  end if;
  if p_digest is distinct from existing.digest and exists (
    select 1 from public.storage_archives
    where project_id = p_project_id and version = p_version and state = 'kept'
      and digest = p_digest and reserved_by is distinct from host.id
  ) then
    return jsonb_build_object('outcome', 'no_content', 'generation_id', existing.generation_id);
  end if;
  return public.storage_record_undeletion(p_project_id, p_version, p_generation_id, p_digest,
    case when p_host_id is not null then public.storage_host_agent(host, p_host_id) end);
end
$$;
comment on function public.storage_host_undelete is
  'What storage_record_undeletion does, of a generation of the host''s and of content of its own; missing for any other. Raises PT403 without the right.';

create function public.storage_host_purge(p_sha256 text, p_limit integer)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
  due record;
  generations integer := 0;
  contents integer := 0;
begin
  perform public.storage_check_may_delete(host);
  for due in
    select project_id, version from public.storage_generations
    where reserved_by = host.id and purge_at <= now()
    order by project_id collate "C", version
    limit p_limit
  loop
    perform 1 from public.storage_projects where id = due.project_id for update;
    -- It may have been undeleted meanwhile.
    if exists (
      select 1 from public.storage_generations
      where project_id = due.project_id and version = due.version and reserved_by = host.id
        and purge_at <= now()
    ) then
      perform public.storage_give_up(due.project_id, due.version);
      generations := generations + 1;
    end if;
  end loop;
  for due in
    select a.project_id, a.bucket, a.object_key
    from public.storage_archives a
    join public.storage_generations g using (project_id, version)
    where a.reserved_by = host.id and a.state = 'kept' and a.purge_at <= now()
      -- What a deleted one holds goes with it.
      and (g.purge_at is null or g.object_key <> a.object_key)
    order by a.project_id collate "C", a.object_key
    limit p_limit
  loop
    perform 1 from public.storage_projects where id = due.project_id for update;
    update public.storage_archives
    set state = 'unneeded', state_at = now(), purge_at = null, manifest = null, block_index = null
    where bucket = due.bucket and object_key = due.object_key and state = 'kept'
      and purge_at <= now();
    if found then
      contents := contents + 1;
    end if;
  end loop;
  return jsonb_build_object('generations', generations, 'contents', contents, 'objects', (
    select coalesce(jsonb_agg(jsonb_build_object('bucket', bucket, 'object_key', object_key)), '[]')
    from public.storage_archives
    where state = 'unneeded' and state_at = now() and reserved_by = host.id
  ));
end
$$;
comment on function public.storage_host_purge is
  'What storage_purge does, of what is the host''s own. Raises PT403 without the right.';

create function public.storage_host_set_owner(
  p_sha256 text,
  p_project_id text,
  p_owner_id uuid
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
  project public.storage_projects;
begin
  select * into project from public.storage_projects where id = p_project_id;
  if not found or not public.storage_may_write(host, project) then
    return '{"outcome": "missing"}';
  end if;
  select * into project from public.storage_projects where id = p_project_id for update;
  if not public.storage_holds_all(host, project) then
    return '{"outcome": "missing"}';
  end if;
  -- It gives to nobody what is somebody's.
  return public.storage_set_owner(p_project_id, p_owner_id);
end
$$;
comment on function public.storage_host_set_owner is
  'What storage_set_owner does, without a transfer, of a project all of whose generations are the host''s; missing for any other.';

create function public.storage_host_activate(
  p_sha256 text,
  p_project_id text,
  p_version integer,
  p_generation_id text,
  p_at timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
begin
  if not exists (
    select 1
    from public.storage_generations g
    join public.storage_projects p on p.id = g.project_id
    where g.project_id = p_project_id and g.version = p_version and g.reserved_by = host.id
      and public.storage_may_write(host, p)
  ) then
    return '{"outcome": "missing"}';
  end if;
  return public.storage_set_active(p_project_id, p_version, p_generation_id, p_at);
end
$$;
comment on function public.storage_host_activate is
  'What storage_set_active does, of a generation of the host''s; missing for any other.';

-- The host itself --------------------------------------------------------------------------------

create function public.storage_host_check(p_sha256 text, p_host_id text, p_count bigint)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host constant public.storage_hosts := public.storage_host_of(p_sha256);
begin
  return jsonb_build_object(
    'name', host.name, 'read', host.read_scope, 'delete', host.delete_scope, 'bucket', host.bucket,
    'expires_at', (select expires_at from public.storage_host_keys where sha256 = p_sha256)
  ) || case when p_host_id is null then '{}'
    else public.storage_check_in(public.storage_host_agent(host, p_host_id), p_count)
  end;
end
$$;
comment on function public.storage_host_check is
  'What a key opens, and when it ends; with what storage_check_in says, where an agent says its id.';

create function public.storage_host_seen(p_sha256 text)
returns void
language sql
set search_path = ''
as $$
  update public.storage_hosts h set last_seen_at = now()
  from public.storage_host_keys k
  where k.sha256 = p_sha256 and h.id = k.host_id
    and (h.last_seen_at is null or h.last_seen_at < now() - interval '1 minute')
$$;
comment on function public.storage_host_seen is
  'Notes that a key was used, once a minute at most. In a transaction of its own: nobody waits for it.';

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
      and (p.proname like 'storage\_host\_%' or p.proname in (
        'storage_check_may_delete', 'storage_may_write', 'storage_holds_all', 'storage_had_part',
        'storage_sent_key'
      ))
  loop
    execute format('revoke all on function %s from public, anon, authenticated', called.signature);
    execute format('grant execute on function %s to service_role', called.signature);
  end loop;
end
$$;
