-- What the hosts record, with the service role. Each is one request and one transaction, may be
-- repeated, and answers with an outcome. Whatever changes a project locks it first, several in the
-- order of their ids.
--
-- One key, one archive: a key is given out once, for the bytes of one archive, and never again. So
-- what is written late is never taken for something else, and what is unneeded may be removed by
-- anybody at any time.
--
-- What is called for each of many is in plpgsql, which plans a statement once; SQL does at each call.

create function public.storage_object_of(p_bucket text, p_object_key text)
returns jsonb
language plpgsql stable
set search_path = ''
as $$
begin
  return (
    select jsonb_build_object(
      'md5', btrim(o.metadata ->> 'eTag', '"'), 'bytes', (o.metadata ->> 'size')::bigint,
      'sha256', to_jsonb(o) #>> '{user_metadata,sha256}')
    from storage.objects o
    where o.bucket_id = p_bucket and o.name = p_object_key
      -- A bucket that keeps old versions has a row of each.
      and to_jsonb(o) ->> 'archived_at' is null
    limit 1
  );
end
$$;
comment on function public.storage_object_of is
  'What Storage knows of an object: its eTag, which is the MD5 where it is one, its size, and the sha256 that whoever sent it named; null where there is none.';

create function public.storage_is_archive(
  p_bucket text,
  p_object_key text,
  p_md5 text,
  p_sha256 text
)
returns boolean
language sql stable
set search_path = ''
as $$
  select coalesce(said ->> 'md5' = p_md5, false) or coalesce(said ->> 'sha256' = p_sha256, false)
  from public.storage_object_of(p_bucket, p_object_key) said
$$;
comment on function public.storage_is_archive is
  'Whether an object is an archive, as far as Storage says: by its MD5, or, where it was sent in parts, by the sha256 that it was sent with.';

create function public.storage_free_key(
  p_bucket text,
  p_project_id text,
  p_version integer,
  p_generation_id text,
  p_sha256 text,
  p_md5 text default null
)
returns text
language plpgsql stable
set search_path = ''
as $$
declare
  candidate text;
begin
  for length in 11 .. 64 loop
    candidate := case length
      when 11 then format('%s/generations/v%s__%s.tar.gz', p_project_id, p_version, p_generation_id)
      else format('%s/generations/v%s__%s.%s.tar.gz', p_project_id, p_version, p_generation_id,
        left(p_sha256, length))
    end;
    if not exists (
      select 1 from public.storage_archives a
      where a.bucket = p_bucket and a.object_key = candidate
    ) and (p_md5 is null
      -- A database that was put back does not know of all that lies in the bucket.
      or coalesce(public.storage_object_of(p_bucket, candidate) ->> 'md5', p_md5) = p_md5) then
      return candidate;
    end if;
  end loop;
  return null;
end
$$;
comment on function public.storage_free_key is
  'A key for an archive: that of the generation, or with the first 12 or more digits of its sha256 where that was given out before, or where an object lies there whose MD5 is another.';

create function public.storage_note_keys(
  p_bucket text,
  p_project_id text,
  p_version integer,
  p_object_keys text[]
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  insert into public.storage_archives (bucket, object_key, project_id, version, state)
  select p_bucket, given.object_key, p_project_id, p_version, 'unneeded'
  from unnest(p_object_keys) as given (object_key)
  where given.object_key like format('%s/generations/v%s\_\_%%',
    replace(p_project_id, '_', '\_'), p_version)
  on conflict do nothing;
end
$$;
comment on function public.storage_note_keys is
  'Notes keys of what a host sent, and replaced or deleted since: a database that was put back may not know of them. What is known already stays as it is.';

create function public.storage_reserve_generation(p_item jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  given record;
  project public.storage_projects;
  existing public.storage_generations;
  archive public.storage_archives;
  is_new boolean := false;
  is_there boolean;
  -- Where the archive lies, as far as this host knows, and whether it does: another may have packed the
  -- same content.
  sent text;
  is_sent boolean;
begin
  select * into given from jsonb_to_record(p_item) as item (
    project_id text, version integer, generation_id text, bucket text, object_key text,
    digest text, sha256 text, archive_bytes bigint, source_bytes bigint, file_count integer,
    created_at timestamptz, owner_id uuid, replace boolean, host_id uuid, sent_key text, md5 text,
    earlier_keys text[], undeleted_at timestamptz
  );
  insert into public.storage_projects (id, owner_id) values (given.project_id, given.owner_id)
  on conflict do nothing;
  select * into project from public.storage_projects where id = given.project_id for update;
  if not found then
    return jsonb_build_object('outcome', 'conflict', 'cause', 'project',
      'reason', 'another project has this id in other case');
  end if;
  if given.owner_id is not null and project.owner_id is not null
    and project.owner_id <> given.owner_id then
    return jsonb_build_object('outcome', 'conflict', 'cause', 'owner',
      'reason', 'the project has another owner', 'owner_id', project.owner_id);
  end if;
  -- What is named as its key the host has found there, by its bytes.
  sent := coalesce(given.object_key, given.sent_key);
  is_sent := sent is not null and (given.object_key is not null
    or public.storage_is_archive(given.bucket, sent, given.md5, given.sha256));
  select * into existing from public.storage_generations
  where project_id = given.project_id and version = given.version for update;
  if not found then
    if project.deleted_at is not null then
      return jsonb_build_object('outcome', 'conflict', 'cause', 'project',
        'reason', 'the project was deleted');
    end if;
    insert into public.storage_generations (
      project_id, version, generation_id, bucket, object_key, digest, sha256,
      archive_bytes, source_bytes, file_count, created_at, undeleted_at,
      undeleted_by
    ) values (
      given.project_id, given.version, given.generation_id, given.bucket,
      -- An archive that is there before its row is where it is.
      coalesce(case when is_sent then sent end,
        public.storage_free_key(given.bucket, given.project_id, given.version,
          given.generation_id, given.sha256, given.md5)),
      given.digest, given.sha256, given.archive_bytes, given.source_bytes, given.file_count,
      -- A deletion of before that, which the host has undone, may still come.
      given.created_at, given.undeleted_at,
      case when given.undeleted_at is not null then given.host_id end
    ) returning * into existing;
    is_new := true;
  end if;

  perform public.storage_note_keys(given.bucket, given.project_id, given.version,
    array_remove(array_remove(given.earlier_keys, existing.object_key), given.sent_key));
  if given.sent_key <> existing.object_key then
    -- A database that was put back knows nothing of what this host was given, and has sent. It stays
    -- until something else is recorded for the same content.
    insert into public.storage_archives (
      bucket, object_key, project_id, version, digest, sha256, archive_bytes, source_bytes,
      file_count, created_at, follows, state
    ) values (
      given.bucket, given.sent_key, given.project_id, given.version, given.digest,
      case when is_sent then given.sha256 end, given.archive_bytes, given.source_bytes,
      given.file_count, given.created_at, existing.epoch,
      case
        -- The bucket alone has what a host found there.
        when existing.digest is distinct from given.digest and given.object_key is not null
          then 'expected'
        when existing.digest is distinct from given.digest or existing.status = 'verified'
          then 'unneeded'
        else 'expected'
      end
    ) on conflict do nothing;
  end if;
  if existing.generation_id <> given.generation_id then
    return jsonb_build_object('outcome', 'conflict', 'cause', 'version',
      'reason', format('the version is held by generation "%s"', existing.generation_id),
      'unneeded', public.storage_unneeded_of(given.project_id, given.version));
  end if;
  if existing.deleted_at is not null then
    -- What was never here is not what was deleted.
    if existing.digest is not distinct from given.digest or exists (
      select 1 from public.storage_archives a
      where a.project_id = given.project_id and a.version = given.version
        and a.digest = given.digest and a.current_at is not null
        and (a.created_at = given.created_at or not given.replace)
    ) then
      return jsonb_build_object('outcome', 'deleted',
        'unneeded', public.storage_unneeded_of(given.project_id, given.version));
    end if;
    return jsonb_build_object('outcome', 'conflict', 'cause', 'content',
      'reason', 'another host saved other content under the same name, and it was deleted',
      'unneeded', public.storage_unneeded_of(given.project_id, given.version));
  end if;

  if not is_new then
    -- The key of a row that no host reserved is written down too.
    insert into public.storage_archives (
      bucket, object_key, project_id, version, digest, sha256, archive_bytes, source_bytes,
      file_count, created_at, follows, state, current_at
    ) values (
      existing.bucket, existing.object_key, existing.project_id, existing.version,
      existing.digest, existing.sha256, existing.archive_bytes, existing.source_bytes,
      existing.file_count, existing.created_at, existing.epoch,
      case when existing.uploaded_at is null then 'expected' else 'current' end,
      existing.uploaded_at
    ) on conflict do nothing;
  end if;

  if existing.digest is null and existing.status in ('uploaded', 'verified')
    and public.storage_object_of(existing.bucket, existing.object_key) is not null then
    -- Nobody has looked what is in it: the host does.
    return jsonb_build_object('outcome', 'reserved', 'status', existing.status,
      'sha256', existing.sha256, 'object_key', existing.object_key,
      'owner_id', project.owner_id,
      'unneeded', public.storage_unneeded_of(given.project_id, given.version));
  end if;

  if existing.digest is distinct from given.digest then
    -- This very save, where it was here before.
    select * into archive from public.storage_archives a
    where a.project_id = given.project_id and a.version = given.version
      and a.digest = given.digest and (a.created_at = given.created_at or not given.replace)
    order by a.state = 'expected' desc
    limit 1;
    if found and (not given.replace or archive.state <> 'expected'
      or archive.follows <> existing.epoch) then
      return jsonb_build_object('outcome', 'superseded', 'digest', existing.digest,
        'reason', 'another host replaced it',
        'unneeded', public.storage_unneeded_of(given.project_id, given.version));
    end if;
    if not given.replace then
      return jsonb_build_object('outcome', 'conflict', 'cause', 'content',
        'reason', 'another host saved other content under the same name',
        'unneeded', public.storage_unneeded_of(given.project_id, given.version));
    end if;
  end if;

  if project.owner_id is null and given.owner_id is not null then
    update public.storage_projects set owner_id = given.owner_id where id = given.project_id;
    project.owner_id := given.owner_id;
  end if;

  -- What this host was about to send before, and will not now.
  update public.storage_archives
  set state = 'unneeded', state_at = now()
  where project_id = given.project_id and version = given.version and state = 'expected'
    and host_id = given.host_id and sha256 <> given.sha256;

  if existing.digest is not distinct from given.digest then
    is_there := existing.status in ('uploaded', 'verified')
      and public.storage_object_of(existing.bucket, existing.object_key) is not null;
    if is_there then
      return jsonb_build_object('outcome', 'reserved', 'status', existing.status,
        'sha256', existing.sha256, 'object_key', existing.object_key,
        'owner_id', project.owner_id,
        'unneeded', public.storage_unneeded_of(given.project_id, given.version));
    end if;
    if existing.status = 'failed' then
      update public.storage_generations set status = 'pending', failure = null
      where project_id = given.project_id and version = given.version;
    end if;
  end if;

  select * into archive from public.storage_archives a
  where a.project_id = given.project_id and a.version = given.version
    and a.bucket = given.bucket and a.sha256 = given.sha256
    and a.state in ('expected', 'current')
  order by a.object_key = sent desc nulls last
  limit 1;
  if not found then
    insert into public.storage_archives (
      bucket, object_key, project_id, version, digest, sha256, archive_bytes, source_bytes,
      file_count, created_at, host_id, follows, state
    ) values (
      given.bucket,
      case when is_new then existing.object_key
        else public.storage_free_key(given.bucket, given.project_id, given.version,
          given.generation_id, given.sha256, given.md5)
      end,
      given.project_id, given.version, given.digest, given.sha256, given.archive_bytes,
      given.source_bytes, given.file_count, given.created_at, given.host_id, existing.epoch,
      'expected'
    ) returning * into archive;
  end if;
  return jsonb_build_object('outcome', 'reserved', 'status', 'pending',
    'sha256', archive.sha256, 'object_key', archive.object_key, 'owner_id', project.owner_id,
    'unneeded', public.storage_unneeded_of(given.project_id, given.version));
end
$$;
comment on function public.storage_reserve_generation is
  'Takes the version, and a key for the archive, before a byte is sent: reserved (with the status so far: pending is to be uploaded), conflict (with its cause and reason), superseded by a replacement, or deleted.';

create function public.storage_record_generation(p_item jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  given record;
  existing public.storage_generations;
  archive public.storage_archives;
  object jsonb;
  reached text;
  is_replacement boolean;
begin
  select * into given from jsonb_to_record(p_item) as item (
    project_id text, version integer, bucket text, object_key text, digest text, sha256 text,
    status text, manifest jsonb, block_index jsonb, md5 text
  );
  perform 1 from public.storage_projects where id = given.project_id for update;
  select * into existing from public.storage_generations
  where project_id = given.project_id and version = given.version for update;
  if not found then
    return jsonb_build_object('outcome', 'missing');
  end if;
  select * into archive from public.storage_archives
  where bucket = given.bucket and object_key = given.object_key
    and project_id = given.project_id and version = given.version;
  if not found or archive.sha256 is distinct from given.sha256 then
    return jsonb_build_object('outcome', 'missing');
  end if;

  object := public.storage_object_of(given.bucket, given.object_key);
  is_replacement := existing.digest is distinct from archive.digest;
  if existing.deleted_at is not null
    or archive.state in ('kept', 'unneeded', 'removed')
    or (archive.state = 'expected' and is_replacement and archive.follows <> existing.epoch)
    or (archive.state = 'expected' and not is_replacement
      and existing.status in ('uploaded', 'verified')
      and existing.object_key <> given.object_key
      and public.storage_object_of(existing.bucket, existing.object_key) is not null)
  then
    -- Something else was there first: whatever this host has sent goes.
    update public.storage_archives
    set state = 'unneeded', state_at = now(), look_again_at = null
    where bucket = given.bucket and object_key = given.object_key and state <> 'kept';
    return jsonb_build_object(
      'outcome', case
        when existing.deleted_at is not null then 'deleted'
        when is_replacement then 'superseded'
        else 'known'
      end,
      'digest', existing.digest, 'status', existing.status, 'sha256', existing.sha256,
      'object_key', existing.object_key,
      'unneeded', public.storage_unneeded_of(given.project_id, given.version)
    );
  end if;
  if object is null then
    return jsonb_build_object('outcome', 'absent');
  end if;

  -- The eTag is the MD5 of what Storage received, where it is one.
  reached := case
    when object ->> 'md5' = given.md5 and (object ->> 'bytes')::bigint = archive.archive_bytes
      then 'verified'
    else given.status
  end;
  if archive.state = 'expected' then
    if is_replacement then
      perform public.storage_keep_content(existing);
    end if;
    -- Of the same content, other archives are unneeded now; after a replacement every other is.
    update public.storage_archives
    set state = 'unneeded', state_at = now()
    where project_id = given.project_id and version = given.version
      and state in ('expected', 'current') and object_key <> given.object_key
      and (is_replacement or digest is not distinct from archive.digest);
    update public.storage_archives
    set state = 'current', state_at = now(), current_at = now()
    where bucket = given.bucket and object_key = given.object_key;
    update public.storage_generations
    set bucket = archive.bucket, object_key = archive.object_key, digest = archive.digest,
        sha256 = archive.sha256, archive_bytes = archive.archive_bytes,
        source_bytes = archive.source_bytes, file_count = archive.file_count,
        created_at = archive.created_at, status = reached, failure = null,
        uploaded_at = now(), verified_at = case when reached = 'verified' then now() end,
        epoch = epoch + case when is_replacement then 1 else 0 end
    where project_id = given.project_id and version = given.version;
    if given.manifest is null then
      delete from public.storage_manifests
      where project_id = given.project_id and version = given.version;
    end if;
  else
    -- A status only ever goes up: a repeat that comes late changes nothing. What is in an archive that
    -- nobody had looked into is known now.
    update public.storage_archives
    set digest = coalesce(digest, given.digest)
    where bucket = given.bucket and object_key = given.object_key;
    update public.storage_generations
    set digest = coalesce(digest, given.digest),
        status = case when status = 'verified' then status else reached end, failure = null,
        uploaded_at = coalesce(uploaded_at, now()),
        verified_at = case when reached = 'verified' then coalesce(verified_at, now()) else verified_at end
    where project_id = given.project_id and version = given.version;
  end if;
  if given.manifest is not null then
    insert into public.storage_manifests (project_id, version, manifest, block_index)
    values (given.project_id, given.version, given.manifest, given.block_index)
    on conflict (project_id, version)
      do update set manifest = excluded.manifest, block_index = excluded.block_index;
  end if;
  return jsonb_build_object('outcome', 'recorded', 'status', reached,
    'unneeded', public.storage_unneeded_of(given.project_id, given.version));
end
$$;
comment on function public.storage_record_generation is
  'Notes that the archive under a key is in the bucket (uploaded) or proven equal (verified; also where what Storage says has the MD5 that is given), and has the row name it: recorded with that status; absent where nothing is there; missing where it was not reserved; known where the same content is there already; superseded or deleted. With the objects that are to be removed.';

-- Several in one request, each as the function for one does it: all of them or, where one fails,
-- none. In the order of their names, so that two such requests wait for each other in one order.

create function public.storage_reserve_generations(p_items jsonb)
returns jsonb
language sql
set search_path = ''
as $$
  select coalesce(jsonb_agg(
    jsonb_build_object('project_id', item -> 'project_id', 'version', item -> 'version')
    || public.storage_reserve_generation(item)
  ), '[]')
  from (
    select item from jsonb_array_elements(p_items) item
    order by item ->> 'project_id' collate "C", (item ->> 'version')::integer
    offset 0
  ) items
$$;
comment on function public.storage_reserve_generations is
  'Reserves several: of each its project_id, its version and what storage_reserve_generation says.';

create function public.storage_record_generations(p_items jsonb)
returns jsonb
language sql
set search_path = ''
as $$
  select coalesce(jsonb_agg(
    jsonb_build_object('project_id', item -> 'project_id', 'version', item -> 'version')
    || public.storage_record_generation(item)
  ), '[]')
  from (
    select item from jsonb_array_elements(p_items) item
    order by item ->> 'project_id' collate "C", (item ->> 'version')::integer
    offset 0
  ) items
$$;
comment on function public.storage_record_generations is
  'Records several: of each its project_id, its version and what storage_record_generation says.';

create function public.storage_record_damage(
  p_bucket text,
  p_project_id text,
  p_version integer,
  p_object_key text
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  existing public.storage_generations;
begin
  perform 1 from public.storage_projects where id = p_project_id for update;
  select * into existing from public.storage_generations
  where project_id = p_project_id and version = p_version and deleted_at is null for update;
  if not found or existing.bucket <> p_bucket or existing.object_key <> p_object_key then
    return jsonb_build_object('outcome', 'other');
  end if;
  insert into public.storage_archives (bucket, object_key, project_id, version, digest, sha256, state)
  values (p_bucket, p_object_key, p_project_id, p_version, existing.digest, existing.sha256, 'current')
  on conflict do nothing;
  update public.storage_archives set state = 'unneeded', state_at = now()
  where bucket = p_bucket and object_key = p_object_key and state in ('expected', 'current');
  update public.storage_generations set status = 'pending', failure = null, verified_at = null
  where project_id = p_project_id and version = p_version;
  return jsonb_build_object('outcome', 'recorded',
    'unneeded', public.storage_unneeded_of(p_project_id, p_version));
end
$$;
comment on function public.storage_record_damage is
  'Notes that the object of a generation is not what it was, as a host that has the content found: it is to be removed, and sent anew under another key; other where the row names another object.';

create function public.storage_record_failure(
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
begin
  perform 1 from public.storage_projects where id = p_project_id for update;
  update public.storage_generations
  set status = 'failed', failure = left(p_reason, 1000)
  where project_id = p_project_id and version = p_version and generation_id = p_generation_id
    and digest is not distinct from p_digest and status in ('pending', 'failed');
  return jsonb_build_object('outcome', case when found then 'recorded' else 'other' end);
end
$$;
comment on function public.storage_record_failure is
  'Notes why a host gave up the upload of what it reserved: recorded, or other where the row is of something else, or further.';

create function public.storage_set_owner(
  p_project_id text,
  p_owner_id uuid,
  p_transfer boolean default false
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  project public.storage_projects;
begin
  select * into project from public.storage_projects
  where id = p_project_id and deleted_at is null for update;
  if not found then
    return jsonb_build_object('outcome', 'missing');
  end if;
  if project.owner_id = p_owner_id then
    return jsonb_build_object('outcome', 'known');
  end if;
  if project.owner_id is not null and not p_transfer then
    return jsonb_build_object('outcome', 'conflict', 'owner_id', project.owner_id);
  end if;
  update public.storage_projects set owner_id = p_owner_id where id = p_project_id;
  return jsonb_build_object('outcome', 'set');
end
$$;
comment on function public.storage_set_owner is
  'Says whose a project is that is nobody''s, or, as a transfer, another''s: set, known, conflict where it is another''s, missing.';

create function public.storage_set_active(
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
  project public.storage_projects;
begin
  select * into project from public.storage_projects
  where id = p_project_id and deleted_at is null for update;
  if not found or not exists (
    select 1 from public.storage_generations
    where project_id = p_project_id and version = p_version and generation_id = p_generation_id
      and deleted_at is null
  ) then
    return jsonb_build_object('outcome', 'missing');
  end if;
  if project.activated_at >= p_at then
    return jsonb_build_object('outcome', 'later');
  end if;
  -- No host's clock speaks for the future: the host learns which time counts.
  update public.storage_projects
  set active_version = p_version, activated_at = date_trunc('milliseconds', least(p_at, now())),
    active_noted_at = now()
  where id = p_project_id
  returning * into project;
  return jsonb_build_object('outcome', 'set', 'activated_at', project.activated_at);
end
$$;
comment on function public.storage_set_active is
  'Makes a version the active one, as a host said at a time: set, later where that was said since, missing where there is no such generation.';

create function public.storage_list_active(
  p_limit integer,
  p_after_at timestamptz default '-infinity',
  p_after_id text default ''
)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(page) order by page.noted_at, page.project_id), '[]')
  from (
    select p.id as project_id, g.version, g.generation_id, p.activated_at, p.active_noted_at as noted_at
    from public.storage_projects p
    join public.storage_generations g on g.project_id = p.id and g.version = p.active_version
    where p.active_noted_at is not null and (p.active_noted_at, p.id) > (p_after_at, p_after_id)
    order by p.active_noted_at, p.id
    limit p_limit
  ) page
$$;
comment on function public.storage_list_active is
  'A page of which versions are active, by when that was noted, after the given position: hosts follow it.';

create table public.storage_check_ins (
  host_id uuid primary key,
  count bigint not null,
  checked_in_at timestamptz not null default now()
);
comment on table public.storage_check_ins is
  'How often each host checked in: a count that is lower than the host knows is that of a database which was put back to an earlier time.';
alter table public.storage_check_ins enable row level security;
revoke all on public.storage_check_ins from anon, authenticated;
grant all on public.storage_check_ins to service_role;

create function public.storage_check_in(p_host_id uuid, p_count bigint)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  known bigint;
begin
  select count into known from public.storage_check_ins where host_id = p_host_id for update;
  if coalesce(known, 0) < p_count then
    -- Noted once the host has done what follows from it, and begins again at 0.
    return jsonb_build_object('outcome', 'older', 'count', 0,
      'last_change', public.storage_last_change());
  end if;
  insert into public.storage_check_ins as host (host_id, count)
  values (p_host_id, p_count + 1)
  on conflict (host_id) do update
    set count = host.count + 1, checked_in_at = now();
  return jsonb_build_object('outcome', 'known', 'count', coalesce(known, p_count) + 1,
    'last_change', public.storage_last_change());
end
$$;
comment on function public.storage_check_in is
  'Notes that a host is there, and how often it was: known, or older where fewer are known here than there. With the number of the last change.';

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
        'storage_object_of', 'storage_is_archive', 'storage_free_key', 'storage_note_keys',
        'storage_reserve_generation', 'storage_record_generation', 'storage_reserve_generations', 'storage_record_generations',
        'storage_record_damage', 'storage_record_failure', 'storage_set_owner',
        'storage_check_in', 'storage_set_active', 'storage_list_active'
      ])
  loop
    execute format('revoke all on function %s from public, anon, authenticated', called.signature);
    execute format('grant execute on function %s to service_role', called.signature);
  end loop;
end
$$;
