-- What is kept and downloaded, day by day, and what that costs.

create table public.storage_settings (
  name text primary key,
  value jsonb not null
);
comment on table public.storage_settings is
  'What the operator sets, once for the whole project: price_per_gb, for a gigabyte that is kept for 30 days.';

alter table public.storage_settings enable row level security;
revoke all on public.storage_settings from anon, authenticated;
grant all on public.storage_settings to service_role;

create table public.storage_usage_daily (
  -- No foreign key: whoever counts a download would wait for whoever saves.
  project_id text not null,
  -- In UTC.
  day date not null,
  -- By how much what is kept changed on that day.
  generations integer not null default 0,
  archive_bytes bigint not null default 0,
  downloads integer not null default 0,
  download_bytes bigint not null default 0,
  primary key (project_id, day)
);
comment on table public.storage_usage_daily is
  'What changed on a day in a project: what was kept at its end is what is kept now, without the changes since.';

alter table public.storage_usage_daily enable row level security;
revoke all on public.storage_usage_daily from anon, authenticated;
grant all on public.storage_usage_daily to service_role;

-- Those that were deleted, too: what was kept in them counts on the days before.
create index storage_projects_of_owner on public.storage_projects (owner_id);

create function public.storage_today()
returns date
language sql stable
set search_path = ''
as $$
  select (now() at time zone 'utc')::date
$$;

-- Of all rows of a statement at once: whoever deletes a project of thousands counts it once. Here as in
-- the other triggers what was before is not joined to what is after: the plan of a trigger is kept, and
-- one that was made for a single row takes the square of thousands.

create function public.storage_count_change()
returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  changes jsonb;
begin
  if tg_op = 'INSERT' then
    select jsonb_agg(jsonb_build_object('project_id', after.project_id, 'generations', 1,
      'archive_bytes', coalesce(after.archive_bytes, 0)))
    into changes from after where after.deleted_at is null;
  elsif tg_op = 'UPDATE' then
    select jsonb_agg(to_jsonb(counted)) into changes
    from (
      select project_id, 1 as generations, coalesce(archive_bytes, 0) as archive_bytes
      from after where deleted_at is null
      union all
      select project_id, -1, -coalesce(archive_bytes, 0) from before where deleted_at is null
    ) counted;
  else
    select jsonb_agg(jsonb_build_object('project_id', before.project_id, 'generations', -1,
      'archive_bytes', -coalesce(before.archive_bytes, 0)))
    into changes from before where before.deleted_at is null;
  end if;
  perform public.storage_add_usage(changes) where changes is not null;
  return null;
end
$$;
comment on function public.storage_count_change is
  'Counts what a statement adds to what is kept, or takes from it.';

create function public.storage_add_usage(p_changes jsonb)
returns void
language plpgsql
set search_path = ''
as $$
begin
  insert into public.storage_usage_daily as daily (project_id, day, generations, archive_bytes)
  select changed.project_id, public.storage_today(), sum(changed.generations),
    sum(changed.archive_bytes)
  from jsonb_to_recordset(p_changes) as changed (
    project_id text, generations integer, archive_bytes bigint
  )
  group by changed.project_id
  having sum(changed.generations) <> 0 or sum(changed.archive_bytes) <> 0
  order by changed.project_id collate "C"
  on conflict (project_id, day) do update
  set generations = daily.generations + excluded.generations,
    archive_bytes = daily.archive_bytes + excluded.archive_bytes;
end
$$;
comment on function public.storage_add_usage is 'Adds changes to what is counted of today.';

create trigger storage_generations_added
  after insert on public.storage_generations referencing new table as after
  for each statement execute function public.storage_count_change();
create trigger storage_generations_changed
  after update on public.storage_generations referencing old table as before new table as after
  for each statement execute function public.storage_count_change();
create trigger storage_generations_removed
  after delete on public.storage_generations referencing old table as before
  for each statement execute function public.storage_count_change();

-- What was kept before this was counted.
insert into public.storage_usage_daily (project_id, day, generations, archive_bytes)
select project_id, (changed.at at time zone 'utc')::date, sum(changed.by_one),
  sum(changed.by_one * coalesce(archive_bytes, 0))
from public.storage_generations
cross join lateral (values (created_at, 1), (deleted_at, -1)) as changed (at, by_one)
where changed.at is not null
group by 1, 2;

create function public.storage_count_download(p_generation jsonb)
returns void
language sql
set search_path = ''
as $$
  insert into public.storage_usage_daily as daily (project_id, day, downloads, download_bytes)
  values (
    p_generation ->> 'project_id', public.storage_today(), 1,
    coalesce((p_generation ->> 'archive_bytes')::bigint, 0)
  )
  on conflict (project_id, day) do update
  set downloads = daily.downloads + 1,
    download_bytes = daily.download_bytes + excluded.download_bytes
$$;

create function public.storage_download_generation(
  p_project_id text,
  p_version integer,
  p_generation_id text default null
)
returns jsonb
language plpgsql security definer
set search_path = ''
set lock_timeout = '500ms'
as $$
declare
  found jsonb := public.storage_get_generation_of(auth.uid(), p_project_id, p_version);
begin
  if found ->> 'status' in ('uploaded', 'verified')
    and found ->> 'generation_id' = coalesce(p_generation_id, found ->> 'generation_id') then
    begin
      perform public.storage_count_download(found);
    exception when others then
      -- In a database that cannot be written, as on a full disk, or where others are at it for long.
      raise warning 'A download was not counted: %', sqlerrm;
    end;
  end if;
  return found;
end
$$;
comment on function public.storage_download_generation is
  'A generation of the caller''s and where its archive is, and counts that it is downloaded; null where the caller sees none.';

create function public.storage_usage_history(p_days integer)
returns jsonb
language sql stable security definer
set search_path = ''
as $$
  with kept as (
    select count(*) as generations, coalesce(sum(g.archive_bytes), 0) as archive_bytes
    from public.storage_projects p
    join public.storage_generations g on g.project_id = p.id and g.deleted_at is null
    where p.owner_id = auth.uid()
  ), counted as (
    select u.day, sum(u.generations) as generations, sum(u.archive_bytes) as archive_bytes,
      sum(u.downloads) as downloads, sum(u.download_bytes) as download_bytes
    from public.storage_projects p
    join public.storage_usage_daily u
      on u.project_id = p.id and u.day > public.storage_today() - p_days
    where p.owner_id = auth.uid()
    group by u.day
  ), days as (
    select today.day,
      kept.generations - coalesce(sum(counted.generations) over later, 0) as generations,
      kept.archive_bytes - coalesce(sum(counted.archive_bytes) over later, 0) as archive_bytes,
      coalesce(counted.downloads, 0) as downloads,
      coalesce(counted.download_bytes, 0) as download_bytes
    from (
      select public.storage_today() - n as day from generate_series(0, p_days - 1) n
    ) today
    cross join kept
    left join counted on counted.day = today.day
    window later as (
      order by today.day desc rows between unbounded preceding and 1 preceding
    )
  ), price as (
    select (
      select (value #>> '{}')::numeric from public.storage_settings where name = 'price_per_gb'
    ) as per_gb
  )
  select jsonb_build_object(
    'days', (select coalesce(jsonb_agg(to_jsonb(days) order by days.day), '[]') from days),
    'price_per_gb', price.per_gb,
    'cost', (select round(sum(days.archive_bytes) / 1e9 / 30 * price.per_gb, 6) from days)
  )
  from price
$$;
comment on function public.storage_usage_history is
  'What the caller kept at the end of each of the last days, and downloaded on it, and what to keep it cost at the operator''s price for a gigabyte and 30 days; null where none is set.';

do $$
declare
  called record;
begin
  for called in
    select p.oid::regprocedure as signature, p.proname
    from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace
      and p.proname = any (array[
        'storage_today', 'storage_count_change', 'storage_add_usage', 'storage_count_download',
        'storage_download_generation', 'storage_usage_history'
      ])
  loop
    execute format('revoke all on function %s from public, anon, authenticated', called.signature);
    execute format('grant execute on function %s to service_role', called.signature);
    if called.proname in ('storage_download_generation', 'storage_usage_history') then
      execute format('grant execute on function %s to authenticated', called.signature);
    end if;
  end loop;
end
$$;
