-- What a host asks for that lost its disk, and what is written into the bucket for one that has no database.
begin;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(39);

-- Others may have something to be written, too.
delete from public.storage_project_files;

insert into public.storage_projects (id, owner_id) values
  ('res-B', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'), ('res-a', null), ('res-c', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa');
insert into public.storage_generations (project_id, version, generation_id, bucket, object_key, status,
    digest, sha256, archive_bytes, source_bytes, file_count, uploaded_at, verified_at)
select 'res-c', n, 'g' || n, 's', 'res-c/' || n, 'verified', 'd' || n, 's' || n, 10, 20, 1, now(), now()
from generate_series(1, 4) n;
insert into public.storage_generations (project_id, version, generation_id, bucket, object_key, digest) values
  ('res-c', 5, 'g5', 's', 'res-c/5', 'd5');
insert into public.storage_archives (bucket, object_key, project_id, version, digest, state, current_at)
select 's', 'res-c/' || n, 'res-c', n, 'd' || n, 'current', now() from generate_series(1, 4) n;

create function pg_temp.page(after text, n integer) returns text language sql as $$
  select jsonb_path_query_array(storage_list_all_projects(n, after), '$[*].project_id')::text
$$;
-- What is to be written of a project; nobody else is given it.
create function pg_temp.claim() returns jsonb language sql as $$
  select storage_claim_project_files(100)
$$;
create function pg_temp.file(claimed jsonb, project text) returns jsonb language sql as $$
  select item -> 'file' from jsonb_array_elements(claimed) item where item ->> 'project_id' = project
$$;

-- Lists -----------------------------------------------------------------------------------------
select is(pg_temp.page('res-', 3), '["res-B", "res-a", "res-c"]', 'projects come by id, as bytes compare');
select is(pg_temp.page('res-', 2), '["res-B", "res-a"]', 'a page at a time');
select is(pg_temp.page('res-a', 1), '["res-c"]', 'which goes on after the last one');
select is((storage_list_all_projects(10, '', 'res-c') -> 0) - 'owner_id' - 'project_id',
  '{"is_deleted": false, "active_version": null, "versions": 4, "bytes": 40, "known": 5, "latest_version": 5}',
  'with what the cloud has of it, and what it knows');
select is(storage_list_all_projects(10, '', 'res-c') -> 0 ->> 'owner_id', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 'whose it is');
select is(storage_list_all_projects(10, '', 'res-a') -> 0 ->> 'owner_id', null, 'or that it is nobody''s');
select is(storage_list_all_projects(10, '', 'res-d'), '[]', 'one that is not there is none');
select is(jsonb_path_query_array(storage_list_all_generations(3, 'res-c'), '$[*].version'), '[1, 2, 3]',
  'generations come by version');
select is(jsonb_path_query_array(storage_list_all_generations(3, 'res-c', 3), '$[*].status'), '["verified", "pending"]',
  'also what is on its way');
select is(storage_list_all_generations(3, 'res-d'), '[]', 'of a project that is not there there are none');

-- Files -----------------------------------------------------------------------------------------
select is(pg_temp.file(pg_temp.claim(), 'res-c'),
  '{"schema": 1, "project_id": "res-c", "owner_id": "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "latest_version": 5}',
  'the file of a project says whose it is');
select is(pg_temp.claim(), '[]', 'and is given to one host at a time');
select is((select count(*) from storage_project_files where project_id = 'res-a'), 0::bigint, 'of nobody''s there is nothing to say');
select is((select claimed_until from storage_project_files where project_id = 'res-B'), now() + interval '3 minutes',
  'for as long as it may take to write it');
update storage_project_files set claimed_until = now() - interval '1 second' where project_id = 'res-B';
select isnt(pg_temp.file(pg_temp.claim(), 'res-B'), null, 'after that another one is');
select storage_record_project_files(jsonb_agg(jsonb_build_object('project_id', project_id, 'revision', revision)))
from storage_project_files where project_id like 'res-%';
select is((select count(*) from storage_project_files where project_id like 'res-%'), 0::bigint, 'what is written is not owed any more');

select storage_record_project_files('[{"project_id": "res-c", "revision": 1}]');
select is((select count(*) from storage_project_files where project_id = 'res-c'), 1::bigint,
  'what somebody wrote after its time is written once more: nobody knows what lies there');
delete from storage_project_files;
insert into storage_generations (project_id, version, generation_id, bucket, object_key, status, deleted_at)
values ('res-a', 1, 'g1', 's', 'res-a/1', 'deleted', now());
select is(pg_temp.file(pg_temp.claim(), 'res-a') #>> '{deleted,0,version}', '1', 'a tombstone that a host tells of is written down');
delete from storage_project_files;

select storage_set_active('res-c', 2, 'g2', '2026-01-02T03:04:05Z');
select is(pg_temp.file(pg_temp.claim(), 'res-c') -> 'active',
  '{"version": 2, "generation_id": "g2", "activated_at": "2026-01-02T03:04:05+00:00"}', 'what is active is written down');
select storage_mark_deleted('res-c', 2);
create temporary table written as
select project_id, revision - 1 as revision from storage_project_files where project_id = 'res-c';
select storage_record_project_files((select jsonb_agg(to_jsonb(written)) from written));
select is((select claimed_until from storage_project_files where project_id = 'res-c'), null,
  'what has changed while it was written is owed still');
select is(pg_temp.file(pg_temp.claim(), 'res-c') -> 'active', null, 'what was deleted is active no more');
update storage_project_files set claimed_until = null;
select is((pg_temp.file(pg_temp.claim(), 'res-c') #> '{deleted,0}') - 'deleted_at' - 'purge_at',
  '{"version": 2, "generation_id": "g2", "digest": "d2"}', 'but a deletion is written down');
update storage_project_files set claimed_until = null;
select is((pg_temp.file(pg_temp.claim(), 'res-c') #>> '{deleted,0,purge_at}')::timestamptz, now() + interval '7 days',
  'with the time until which it is kept');
delete from storage_project_files;
select storage_undelete('res-c', 2, null);
select is(pg_temp.file(pg_temp.claim(), 'res-c') -> 'deleted', null, 'what is undeleted is not among them');
delete from storage_project_files;
select storage_mark_deleted('res-c', 3, true);
select is(pg_temp.file(pg_temp.claim(), 'res-c') #>> '{deleted,0,purge_at}', null, 'what is purged has no such time');

-- Replaced: several contents lie in the bucket.
delete from storage_project_files;
select storage_reserve_generation('{"project_id": "res-c", "version": 4, "generation_id": "g4", "bucket": "s", "digest": "new",
  "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "archive_bytes": 5, "source_bytes": 5,
  "file_count": 1, "created_at": "2026-01-01T00:00:00Z", "replace": true}');
select is((select count(*) from storage_project_files), 0::bigint, 'a reservation changes nothing of it');
insert into storage.buckets (id, name, public) values ('s', 's', false);
insert into storage.objects (bucket_id, name, metadata)
select 's', object_key, '{"eTag": "\"m\"", "size": 5}' from storage_archives where project_id = 'res-c' and digest = 'new';
select storage_record_generation(jsonb_build_object('project_id', 'res-c', 'version', 4, 'bucket', 's', 'digest', 'new',
  'object_key', (select object_key from storage_archives where project_id = 'res-c' and digest = 'new'),
  'sha256', repeat('a', 64), 'status', 'verified'));
select is((select digest from storage_generations where project_id = 'res-c' and version = 4), 'new', 'once it is replaced');
select is(pg_temp.file(pg_temp.claim(), 'res-c') -> 'replaced', '[{"version": 4, "generation_id": "g4", "digest": "new"}]',
  'the file says what it holds');

delete from storage_project_files;
update storage_projects set name = 'Shop' where id = 'res-c';
select is(pg_temp.file(pg_temp.claim(), 'res-c') ->> 'name', 'Shop', 'a name is written down');
delete from storage_project_files;
update storage_projects set created_at = created_at where id = 'res-c';
select is(pg_temp.claim(), '[]', 'what says nothing new is not');
select storage_owe_project_files('res-a');
select is(jsonb_path_query_array(pg_temp.claim(), '$[*].project_id'), '["res-a"]', 'one is owed where that is asked for');
select storage_owe_project_files();
select is((select count(*) from storage_project_files), (select count(*) from storage_projects), 'or all');
delete from storage_project_files;
insert into storage_project_files (project_id) values ('gone');
select is(pg_temp.claim(), '[]', 'one that is gone is passed over');
select is((select count(*) from storage_project_files), 0::bigint, 'and forgotten');

-- Who may ----------------------------------------------------------------------------------------
select set_config('request.jwt.claims', '{"sub": "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "role": "authenticated"}', true),
  set_config('role', 'authenticated', true);
select throws_ok($$ select storage_list_all_projects(1) $$, '42501', null, 'a user lists not what is everybody''s');
select throws_ok($$ select storage_list_all_generations(1, 'res-c') $$, '42501', null, 'nor generations');
select throws_ok($$ select storage_claim_project_files(1) $$, '42501', null, 'nor writes files');
select throws_ok($$ select storage_record_project_files('[]') $$, '42501', null, 'nor notes them');
select throws_ok($$ select * from storage_project_files $$, '42501', null, 'nor sees which are owed');
reset role;

select * from finish();
rollback;
