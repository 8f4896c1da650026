-- Links to an archive that can be ended: whoever has one downloads, for as long as it is there.

create table public.storage_links (
  -- Whoever knows it may download: 122 random bits.
  id uuid primary key default gen_random_uuid(),
  project_id text not null,
  version integer not null,
  generation_id text not null,
  -- Who made it, and owned the project then.
  owner_id uuid not null,
  format text not null check (format in ('tar.gz', 'zip')),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  ended_at timestamptz,
  downloads bigint not null default 0,
  last_download_at timestamptz,
  foreign key (project_id, version)
    references public.storage_generations (project_id, version) on delete cascade
);
comment on table public.storage_links is
  'Links to archives, which whoever made them can end. Deleting the generation, or giving its project to another, ends them.';
create index storage_links_of_owner on public.storage_links (owner_id, created_at desc, id desc);
create index storage_links_of_generation on public.storage_links (project_id, version);

alter table public.storage_links enable row level security;
revoke all on public.storage_links from anon, authenticated;
grant all on public.storage_links to service_role;

-- What ends them ---------------------------------------------------------------------------------

create function public.storage_end_links()
returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  if tg_table_name = 'storage_generations' then
    update public.storage_links set ended_at = now()
    where project_id = new.project_id and version = new.version and ended_at is null;
  else
    update public.storage_links set ended_at = now()
    where project_id = new.id and ended_at is null;
  end if;
  return null;
end
$$;
comment on function public.storage_end_links is
  'Ends the links to what was deleted, is another generation, or has another owner. It runs as its owner: users write nothing directly.';

create trigger storage_generations_links
  after update of deleted_at, generation_id on public.storage_generations
  for each row when (
    (new.deleted_at is not null and old.deleted_at is null) or new.generation_id <> old.generation_id
  ) execute function public.storage_end_links();
create trigger storage_projects_links
  after update of owner_id, deleted_at on public.storage_projects
  for each row when (
    new.owner_id is distinct from old.owner_id
    or (new.deleted_at is not null and old.deleted_at is null)
  ) execute function public.storage_end_links();

-- What the function asks for ---------------------------------------------------------------------

create function public.storage_link_json(link public.storage_links)
returns jsonb
language sql immutable
set search_path = ''
as $$
  select jsonb_build_object(
    'id', link.id, 'project_id', link.project_id, 'version', link.version,
    'generation_id', link.generation_id, 'format', link.format, 'created_at', link.created_at,
    'expires_at', link.expires_at, 'downloads', link.downloads,
    'last_download_at', link.last_download_at
  )
$$;

create function public.storage_create_link(
  p_project_id text,
  p_version integer,
  p_format text,
  p_expires_in integer,
  p_limit integer,
  p_generation_id text default null
)
returns jsonb
language plpgsql security definer
set search_path = ''
as $$
declare
  asker constant uuid := auth.uid();
  generation jsonb;
  made public.storage_links;
begin
  -- Whose it is comes first: nobody has another's wait. It is not given away, nor deleted, meanwhile.
  perform 1 from public.storage_projects
  where id = p_project_id and owner_id = asker for update;
  generation := public.storage_get_generation_of(asker, p_project_id, p_version);
  if generation is null
    or generation ->> 'generation_id' <> coalesce(p_generation_id, generation ->> 'generation_id') then
    return null;
  end if;
  perform 1 from public.storage_generations
  where project_id = p_project_id and version = p_version and deleted_at is null
    and generation_id = generation ->> 'generation_id'
  for share;
  if not found then
    return null;
  end if;
  delete from public.storage_links where owner_id = asker and expires_at <= now();
  if (select count(*) from public.storage_links where owner_id = asker and ended_at is null) >= p_limit then
    return jsonb_build_object('outcome', 'too_many');
  end if;
  insert into public.storage_links (project_id, version, generation_id, owner_id, format, expires_at)
  values (
    p_project_id, p_version, generation ->> 'generation_id', asker, p_format,
    now() + p_expires_in * interval '1 second'
  )
  returning * into made;
  return jsonb_build_object('outcome', 'created', 'link', public.storage_link_json(made));
end
$$;
comment on function public.storage_create_link is
  'Makes a link to a generation of the caller''s, for so many seconds; null where the caller sees none. An owner has so many at once.';

create function public.storage_list_links(
  p_limit integer,
  p_project_id text default null,
  p_before_created_at timestamptz default 'infinity',
  p_before_id uuid default 'ffffffff-ffff-ffff-ffff-ffffffffffff'
)
returns jsonb
language sql stable security definer
set search_path = ''
as $$
  select coalesce(jsonb_agg(public.storage_link_json(page) order by page.created_at desc, page.id desc), '[]')
  from (
    select * from public.storage_links
    where owner_id = (select auth.uid()) and ended_at is null and expires_at > now()
      and (p_project_id is null or project_id = p_project_id)
      and (created_at, id) < (p_before_created_at, p_before_id)
    order by created_at desc, id desc
    limit p_limit
  ) page
$$;
comment on function public.storage_list_links is
  'A page of the caller''s links that can be followed, newest first, after the given position.';

create function public.storage_end_link(p_id uuid)
returns jsonb
language plpgsql security definer
set search_path = ''
as $$
declare
  was timestamptz;
begin
  select ended_at into was from public.storage_links
  where id = p_id and owner_id = auth.uid() and expires_at > now() for update;
  if not found then
    return null;
  end if;
  update public.storage_links set ended_at = now() where id = p_id and ended_at is null;
  return jsonb_build_object('ended', was is null);
end
$$;
comment on function public.storage_end_link is
  'Ends a link of the caller''s, and says whether it was there until then; null where the caller has none of this id.';

-- What whoever looks after the project asks for ---------------------------------------------------

create function public.storage_link_name(p_id uuid)
returns text
language sql immutable
set search_path = ''
as $$
  select left(p_id::text, 13)
$$;
comment on function public.storage_link_name is
  'How a link is named to whoever looks after it and is not to follow it: 48 of its bits. 74 that nobody can guess are left out.';

create function public.storage_links_to(p_project_id text, p_version integer, p_limit integer)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(
    public.storage_link_json(link) - 'id' || jsonb_build_object('name', public.storage_link_name(link.id))
    order by link.created_at desc, link.id desc
  ), '[]')
  from (
    select * from public.storage_links
    where project_id = p_project_id and version = p_version and ended_at is null and expires_at > now()
    order by created_at desc, id desc
    limit p_limit
  ) link
$$;
comment on function public.storage_links_to is
  'The links to a generation that can be followed, by name, newest first, whoever made them.';

create function public.storage_end_link_to(p_project_id text, p_version integer, p_name text)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  found_id uuid;
  was timestamptz;
begin
  select id, ended_at into found_id, was from public.storage_links
  where project_id = p_project_id and version = p_version and expires_at > now()
    and public.storage_link_name(id) = p_name
  order by ended_at is not null
  limit 1
  for update;
  if not found then
    return jsonb_build_object('outcome', 'missing');
  end if;
  update public.storage_links set ended_at = now() where id = found_id and ended_at is null;
  return jsonb_build_object('outcome', case when was is null then 'ended' else 'had_ended' end);
end
$$;
comment on function public.storage_end_link_to is
  'Ends a link to a generation, whoever made it: ended, had_ended where it could not be followed before, or missing.';

-- What whoever follows one asks for ----------------------------------------------------------------

create function public.storage_follow_link(p_id uuid, p_is_counted boolean)
returns jsonb
language plpgsql
set search_path = ''
set lock_timeout = '500ms'
as $$
declare
  link public.storage_links;
  generation jsonb;
begin
  select * into link from public.storage_links
  where id = p_id and ended_at is null and expires_at > now();
  generation := public.storage_get_generation_of(link.owner_id, link.project_id, link.version);
  if generation is null or generation ->> 'generation_id' <> link.generation_id then
    return null;
  end if;
  if p_is_counted and generation ->> 'status' in ('uploaded', 'verified') then
    begin
      update public.storage_links set downloads = downloads + 1, last_download_at = now()
      where id = p_id;
      perform public.storage_count_download(generation);
    exception when others then
      -- In a database that cannot be written, as on a full disk, or where others are at it for long.
      raise warning 'A download was not counted: %', sqlerrm;
    end;
  end if;
  return jsonb_build_object(
    'generation', generation, 'owner_id', link.owner_id, 'format', link.format,
    'expires_at', link.expires_at
  );
end
$$;
comment on function public.storage_follow_link is
  'Where a link leads, and counts that it was followed; null where there is none, or it has ended.';

-- Who may call. PostgreSQL lets everybody execute a new function, and hosted Supabase grants it to anon too.

do $$
declare
  called record;
begin
  for called in
    select p.oid::regprocedure as signature, p.proname
    from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace
      and p.proname = any (array[
        'storage_end_links', 'storage_link_json', 'storage_create_link', 'storage_list_links',
        'storage_end_link', 'storage_link_name', 'storage_links_to', 'storage_end_link_to',
        'storage_follow_link'
      ])
  loop
    execute format('revoke all on function %s from public, anon, authenticated', called.signature);
    execute format('grant execute on function %s to service_role', called.signature);
    if called.proname in ('storage_create_link', 'storage_list_links', 'storage_end_link') then
      execute format('grant execute on function %s to authenticated', called.signature);
    end if;
  end loop;
end
$$;
