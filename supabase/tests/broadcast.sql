-- Live updates. Realtime is a stand-in here: what it is told, and who may listen.
begin;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(13);

insert into public.storage_projects (id, owner_id) values
  ('told-ada', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'),
  ('told-grace', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'),
  ('told-nobody', null);

select lives_ok($$ insert into storage_generations (project_id, version, generation_id, bucket, object_key)
  values ('told-ada', 9, 'g9', 'b', 'told-ada/9') $$, 'without Realtime nothing is told, and nothing fails');
delete from storage_generations where project_id = 'told-ada';

create schema realtime;
create table realtime.messages (topic text, extension text, payload jsonb, event text, private boolean);
alter table realtime.messages enable row level security;
create function realtime.topic() returns text language sql stable as
  $$ select current_setting('realtime.topic', true) $$;
create function realtime.send(payload jsonb, event text, topic text, private boolean) returns void
language sql as $$
  insert into realtime.messages (topic, extension, payload, event, private)
  values (topic, 'broadcast', payload, event, private)
$$;
grant usage on schema realtime to authenticated;
grant all on realtime.messages to authenticated;
select storage_allow_listening();
select lives_ok($$ select storage_allow_listening() $$, 'it may be allowed again');

create function pg_temp.told() returns text[] language sql as $$
  with gone as (delete from realtime.messages returning event, topic, private)
  select array_agg(format('%s %s %s', event, topic, private) order by event) from gone
$$;

insert into storage_generations (project_id, version, generation_id, bucket, object_key, digest)
values ('told-ada', 1, 'g1', 'b', 'told-ada/1', 'd1');
select is((select payload from realtime.messages),
  '{"project_id": "told-ada", "version": 1, "generation_id": "g1", "status": "pending", "failure": null, "digest": "d1"}',
  'a message says which generation, and how it is');
select is(pg_temp.told(), array['generation.pending storage:aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa t'],
  'it goes to its owner, in private');
update storage_generations set status = 'uploaded', uploaded_at = now() where project_id = 'told-ada';
select is(pg_temp.told(), array['generation.uploaded storage:aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa t'], 'an upload is told');
update storage_generations set archive_bytes = 5 where project_id = 'told-ada';
select is(pg_temp.told(), null, 'what changes nothing for its owner is not');
update storage_generations set digest = 'd2' where project_id = 'told-ada';
select is(pg_temp.told(), array['generation.uploaded storage:aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa t'], 'a replacement is');
update storage_generations set status = 'failed', failure = 'why' where project_id = 'told-ada';
select is(pg_temp.told(), array['generation.failed storage:aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa t'], 'a failure is');
select storage_mark_deleted('told-ada', 1);
select is(pg_temp.told(), array['generation.deleted storage:aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa t'], 'a deletion is');
insert into storage_generations (project_id, version, generation_id, bucket, object_key)
values ('told-nobody', 1, 'g1', 'b', 'told-nobody/1');
select is(pg_temp.told(), null, 'what is nobody''s is told to nobody');

insert into storage_generations (project_id, version, generation_id, bucket, object_key)
values ('told-grace', 1, 'g1', 'b', 'told-grace/1');
select set_config('request.jwt.claims', '{"sub": "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "role": "authenticated"}', true),
  set_config('request.jwt.claim.sub', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', true),
  set_config('role', 'authenticated', true),
  set_config('realtime.topic', 'storage:bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb', true);
select is((select count(*)::int from realtime.messages), 0, 'nobody listens to another''s topic');
select set_config('realtime.topic', 'storage:aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', true);
select throws_ok($$ insert into realtime.messages (topic, extension)
  values ('storage:aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 'broadcast') $$, '42501', null, 'nobody sends but the database');
reset role;

create or replace function realtime.send(payload jsonb, event text, topic text, private boolean) returns void
language plpgsql as $$ begin raise exception 'Realtime is broken'; end $$;
select lives_ok($$ update storage_generations set status = 'uploaded' where project_id = 'told-grace' $$,
  'an upload does not fail where Realtime does');

select * from finish();
rollback;
