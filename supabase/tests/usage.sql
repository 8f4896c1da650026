-- What is kept and downloaded, day by day.
begin;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(21);

create function pg_temp.sign_in(id text) returns void language sql as $$
  select set_config('request.jwt.claims', json_build_object('sub', id, 'role', 'authenticated')::text, true),
    set_config('request.jwt.claim.sub', id, true), set_config('role', 'authenticated', true)
$$;
create function pg_temp.today() returns date language sql as $$ select (now() at time zone 'utc')::date $$;
create function pg_temp.row_of(p_project text) returns text language sql as $$
  select format('%s %s %s %s', generations, archive_bytes, downloads, download_bytes)
  from public.storage_usage_daily where project_id = p_project and day = pg_temp.today()
$$;

insert into storage_projects (id, owner_id) values
  ('kept-1', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa1'), ('kept-2', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa1'),
  ('kept-3', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbb1');
insert into storage_generations
  (project_id, version, generation_id, bucket, object_key, status, archive_bytes, deleted_at) values
  ('kept-1', 1, 'g1', 'b', 'kept-1/1', 'verified', 100, null),
  ('kept-1', 2, 'g2', 'b', 'kept-1/2', 'pending', null, null),
  ('kept-1', 3, 'g3', 'b', 'kept-1/3', 'deleted', 7, now()),
  ('kept-3', 1, 'g1', 'b', 'kept-3/1', 'verified', 5000, null);
select is(pg_temp.row_of('kept-1'), '2 100 0 0', 'what is added is counted, a tombstone is not');
update storage_generations set archive_bytes = 30 where project_id = 'kept-1' and version = 2;
select is(pg_temp.row_of('kept-1'), '2 130 0 0', 'so is what gets another size');
update storage_generations set status = 'uploaded' where project_id = 'kept-1' and version = 2;
select is(pg_temp.row_of('kept-1'), '2 130 0 0', 'another status is no change of it');
select storage_mark_deleted('kept-1', 2);
select is(pg_temp.row_of('kept-1'), '1 100 0 0', 'what is deleted is taken off');
select storage_mark_deleted('kept-1', 2);
select is(pg_temp.row_of('kept-1'), '1 100 0 0', 'once');
delete from storage_generations where project_id = 'kept-1' and version = 3;
select is(pg_temp.row_of('kept-1'), '1 100 0 0', 'a tombstone that goes takes nothing off');

insert into storage_projects (id) values ('kept-many-1'), ('kept-many-2');
insert into storage_generations (project_id, version, generation_id, bucket, object_key, archive_bytes)
select 'kept-many-' || 1 + n % 2, 1 + n / 2, 'g', 'b', 'kept-many/' || n, 10 from generate_series(0, 9) n;
select is(pg_temp.row_of('kept-many-1') || ', ' || pg_temp.row_of('kept-many-2'), '5 50 0 0, 5 50 0 0',
  'many in one statement are counted each');
select storage_mark_deleted('kept-many-1', null);
select is(pg_temp.row_of('kept-many-1'), '0 0 0 0', 'so are those of a project that is deleted');

-- It was there on the days before, and there was more of it.
insert into storage_usage_daily values
  ('kept-1', pg_temp.today() - 1, 3, 300, 4, 400), ('kept-1', pg_temp.today() - 40, 5, 500, 9, 900),
  ('kept-2', pg_temp.today() - 1, -2, -200, 0, 0);
select pg_temp.sign_in('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaa1');
select is(jsonb_path_query_array(storage_usage_history(3), '$.days[*].archive_bytes'), '[-100, 0, 100]',
  'what was kept at the end of a day is what is kept now, without the changes since');
select is(jsonb_path_query_array(storage_usage_history(3), '$.days[*].generations'), '[-1, 0, 1]', 'so are generations');
select is(jsonb_path_query_array(storage_usage_history(3), '$.days[*].downloads'), '[0, 4, 0]', 'downloads are of their day');
select is(storage_usage_history(3) #>> '{days,2,day}', pg_temp.today()::text, 'today comes last');
select is(jsonb_array_length(storage_usage_history(365) -> 'days'), 365, 'each day is there');
select is(storage_usage_history(3) -> 'cost', 'null'::jsonb, 'without a price nothing has a cost');
select is(storage_download_generation('kept-1', 1) ->> 'object_key', 'kept-1/1', 'what is downloaded is found');
select is(storage_download_generation('kept-1', 1, 'other') ->> 'generation_id', 'g1', 'another than was asked for');
select is(storage_download_generation('kept-3', 1), null, 'what is another''s is not');
select throws_ok($$ select * from storage_usage_daily $$, '42501', null, 'nobody reads the table');
select throws_ok($$ insert into storage_settings values ('price_per_gb', '0') $$, '42501', null, 'nobody sets a price');
reset role;
select is(pg_temp.row_of('kept-1') || ', ' || pg_temp.row_of('kept-3'), '1 100 1 100, 1 5000 0 0',
  'a download is counted once, with its bytes, and where it is the caller''s');
insert into storage_settings values ('price_per_gb', '30')
  on conflict (name) do update set value = excluded.value;
update storage_generations set archive_bytes = 2000000000 where project_id = 'kept-3';
select pg_temp.sign_in('bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbb1');
select is(storage_usage_history(1) - 'days', '{"price_per_gb": 30, "cost": 2.000000}',
  'a gigabyte of a day costs a thirtieth of its price');

select * from finish();
rollback;
