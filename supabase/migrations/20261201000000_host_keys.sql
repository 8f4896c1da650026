-- Hosts that have a key of their own, in place of the project's secret key, and what each may do.

create table public.storage_hosts (
  id uuid primary key default gen_random_uuid(),
  name text not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  read_scope text not null check (read_scope in ('own', 'all')),
  delete_scope text not null check (delete_scope in ('none', 'own')),
  -- It writes into this one alone.
  bucket text not null,
  created_at timestamptz not null default now(),
  last_seen_at timestamptz,
  revoked_at timestamptz
);
comment on table public.storage_hosts is
  'Hosts with keys of their own. read_scope: whether it may read what others saved to projects of others. delete_scope: whether it may delete what it saved.';
-- The name of one that was revoked is free again.
create unique index storage_hosts_name on public.storage_hosts (lower(name)) where revoked_at is null;

create table public.storage_host_keys (
  sha256 text primary key check (sha256 ~ '^[0-9a-f]{64}$'),
  host_id uuid not null references public.storage_hosts on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz
);
comment on table public.storage_host_keys is
  'The keys of hosts, as their sha256: two of a host at most, for as long as one takes the place of the other. expires_at null: it does not end.';
create index storage_host_keys_host on public.storage_host_keys (host_id);

create table public.storage_host_projects (
  host_id uuid not null references public.storage_hosts on delete cascade,
  project_id text not null,
  assigned_at timestamptz not null default now(),
  primary key (host_id, project_id)
);
comment on table public.storage_host_projects is
  'Projects that a host may write to beside those that it created. They need not be there yet.';

alter table public.storage_hosts enable row level security;
alter table public.storage_host_keys enable row level security;
alter table public.storage_host_projects enable row level security;
revoke all on public.storage_hosts, public.storage_host_keys, public.storage_host_projects
from anon, authenticated;
grant all on public.storage_hosts, public.storage_host_keys, public.storage_host_projects
to service_role;

-- Who saved what --------------------------------------------------------------------------------
-- While the key of a host does the work, its transaction says which host that is; what comes into being then is that
-- host's. What the secret key does is nobody's.

create function public.storage_current_host()
returns uuid
language sql stable
set search_path = ''
as $$
  select nullif(current_setting('codebegen.host', true), '')::uuid
$$;
comment on function public.storage_current_host is
  'The host whose key does the work of this transaction; null where it is the secret key, or a user.';

alter table public.storage_projects
  add column created_by uuid default public.storage_current_host();
alter table public.storage_archives
  add column reserved_by uuid default public.storage_current_host();
-- Of what a generation holds: as of the archive that its row names.
alter table public.storage_generations
  add column reserved_by uuid default public.storage_current_host();
create index storage_generations_reserved_by
  on public.storage_generations (reserved_by, project_id, version) where reserved_by is not null;
create index storage_projects_created_by
  on public.storage_projects (created_by) where created_by is not null;

create function public.storage_note_reserved_by()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.reserved_by := (
    select a.reserved_by from public.storage_archives a
    where a.bucket = new.bucket and a.object_key = new.object_key
  );
  return new;
end
$$;
comment on function public.storage_note_reserved_by is
  'A generation that holds something else is whose that is.';
create trigger storage_generations_reserved_by
  before update on public.storage_generations
  for each row when ((new.bucket, new.object_key) is distinct from (old.bucket, old.object_key))
  execute function public.storage_note_reserved_by();

-- What the operator does --------------------------------------------------------------------------

-- A host by its name, locked: what changes its keys goes one after another.
create function public.storage_lock_host(p_name text)
returns uuid
language sql
set search_path = ''
as $$
  select id from public.storage_hosts
  where lower(name) = lower(p_name) and revoked_at is null
  for update
$$;
comment on function public.storage_lock_host is
  'The id of a host that is not revoked; null where there is none.';

create function public.storage_hand_over(p_host uuid, p_projects text[])
returns integer
language plpgsql
set search_path = ''
as $$
declare
  handed integer;
begin
  perform 1 from public.storage_projects where id = any (p_projects)
  order by id collate "C" for update;
  insert into public.storage_host_projects (host_id, project_id)
  select p_host, given from unnest(p_projects) as given
  on conflict do nothing;
  get diagnostics handed = row_count;
  update public.storage_archives set reserved_by = p_host
  where project_id = any (p_projects) and (reserved_by is null or reserved_by in (
    select id from public.storage_hosts where revoked_at is not null
  ));
  update public.storage_generations set reserved_by = p_host
  where project_id = any (p_projects) and (reserved_by is null or reserved_by in (
    select id from public.storage_hosts where revoked_at is not null
  ));
  -- It may have followed the feed past what was not its own.
  update public.storage_changes set number = null, noted_at = now()
  where project_id = any (p_projects);
  return handed;
end
$$;
comment on function public.storage_hand_over is
  'Lets a host write to projects, and gives it what in them came by the secret key, or from a host that was revoked; tells of how many it might not before.';

create function public.storage_add_host(
  p_name text,
  p_sha256 text,
  p_read text default 'own',
  p_delete text default 'none',
  p_projects text[] default '{}',
  p_expires_at timestamptz default null,
  p_bucket text default 'codebegen-projects'
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  added uuid;
begin
  insert into public.storage_hosts (name, read_scope, delete_scope, bucket)
  values (p_name, p_read, p_delete, p_bucket)
  on conflict (lower(name)) where revoked_at is null do nothing
  returning id into added;
  if added is null then
    return jsonb_build_object('outcome', 'exists');
  end if;
  insert into public.storage_host_keys (sha256, host_id, expires_at)
  values (p_sha256, added, p_expires_at);
  perform public.storage_hand_over(added, p_projects);
  return jsonb_build_object('outcome', 'added', 'id', added);
end
$$;
comment on function public.storage_add_host is
  'Adds a host with its first key: added, or exists where another has the name.';

create function public.storage_rotate_host_key(
  p_name text,
  p_sha256 text,
  p_overlap_seconds integer,
  p_expires_at timestamptz default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host uuid := public.storage_lock_host(p_name);
  earlier text;
  ends_at timestamptz;
begin
  if host is null then
    return jsonb_build_object('outcome', 'missing');
  end if;
  select sha256 into earlier from public.storage_host_keys
  where host_id = host and (expires_at is null or expires_at > now())
  order by created_at desc, sha256
  limit 1;
  delete from public.storage_host_keys where host_id = host and sha256 is distinct from earlier;
  update public.storage_host_keys
  set expires_at = least(expires_at, now() + make_interval(secs => p_overlap_seconds))
  where host_id = host
  returning expires_at into ends_at;
  insert into public.storage_host_keys (sha256, host_id, created_at, expires_at)
  -- Which of two is the newer one is seen also where both came in one transaction.
  values (p_sha256, host, clock_timestamp(), p_expires_at);
  return jsonb_build_object('outcome', 'rotated', 'earlier_ends_at', ends_at);
end
$$;
comment on function public.storage_rotate_host_key is
  'Gives a host another key, and has the one before it end after a while, any other at once: rotated, with the time when the earlier one ends (null: there was none), or missing.';

create function public.storage_assign_projects(p_name text, p_projects text[])
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host uuid := public.storage_lock_host(p_name);
begin
  if host is null then
    return jsonb_build_object('outcome', 'missing');
  end if;
  return jsonb_build_object('outcome', 'assigned',
    'assigned', public.storage_hand_over(host, p_projects));
end
$$;
comment on function public.storage_assign_projects is
  'Lets a host write to projects, which need not be there yet, and gives it what in them came by the secret key, or from a host that was revoked: assigned, with the number of those that were not before, or missing.';

create function public.storage_assign_projects_of(p_name text, p_from text)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host uuid := public.storage_lock_host(p_name);
  burnt uuid[];
begin
  if host is null then
    return jsonb_build_object('outcome', 'missing');
  end if;
  -- The name may have been given again.
  select array_agg(id) into burnt from public.storage_hosts
  where lower(name) = lower(p_from) and revoked_at is not null;
  if burnt is null then
    return jsonb_build_object('outcome', case
      when exists (select 1 from public.storage_hosts where lower(name) = lower(p_from))
        then 'not_revoked'
      else 'missing_from'
    end);
  end if;
  return jsonb_build_object('outcome', 'assigned', 'assigned', public.storage_hand_over(host, array(
    select id from public.storage_projects where created_by = any (burnt)
    union
    select project_id from public.storage_host_projects where host_id = any (burnt)
  )));
end
$$;
comment on function public.storage_assign_projects_of is
  'Assigns all projects that a host created or was assigned which is revoked, as storage_assign_projects does: assigned, not_revoked, or missing, missing_from where there is no such host.';

create function public.storage_revoke_host(p_name text)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  host uuid := public.storage_lock_host(p_name);
begin
  if host is null then
    return jsonb_build_object('outcome', case
      when exists (select 1 from public.storage_hosts where lower(name) = lower(p_name))
        then 'was_revoked'
      else 'missing'
    end);
  end if;
  update public.storage_hosts set revoked_at = now() where id = host;
  delete from public.storage_host_keys where host_id = host;
  return jsonb_build_object('outcome', 'revoked');
end
$$;
comment on function public.storage_revoke_host is
  'Has the keys of a host open nothing any more, and its name be free: revoked, was_revoked or missing. What it saved stays.';

create function public.storage_list_hosts(p_limit integer)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'id', host.id, 'name', host.name, 'read', host.read_scope, 'delete', host.delete_scope,
    'created_at', host.created_at, 'last_seen_at', host.last_seen_at, 'revoked_at', host.revoked_at,
    'projects', (
      select count(*) from public.storage_host_projects p where p.host_id = host.id
    ),
    'keys', (
      select coalesce(jsonb_agg(
        jsonb_build_object('created_at', k.created_at, 'expires_at', k.expires_at)
        order by k.created_at desc
      ), '[]')
      from public.storage_host_keys k where k.host_id = host.id
    )
  ) order by host.revoked_at is not null, lower(host.name) collate "C", host.created_at), '[]')
  from (
    select * from public.storage_hosts
    order by revoked_at is not null, lower(name) collate "C", created_at
    limit p_limit
  ) host
$$;
comment on function public.storage_list_hosts is
  'The hosts by name, those that were revoked after the others, with the times of their keys and how many projects each was assigned.';

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
        'storage_current_host', 'storage_note_reserved_by', 'storage_hand_over',
        'storage_lock_host', 'storage_add_host', 'storage_rotate_host_key',
        'storage_assign_projects', 'storage_assign_projects_of', 'storage_revoke_host', 'storage_list_hosts'
      ])
  loop
    execute format('revoke all on function %s from public, anon, authenticated', called.signature);
    execute format('grant execute on function %s to service_role', called.signature);
  end loop;
end
$$;
