-- Row level security and the SQL functions. Runs under `supabase test db`, and on PGlite in `npm test`.
begin;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(88);

-- Two users, three projects, one of them nobody's.
insert into public.storage_projects (id, owner_id, name) values
  ('ada-1', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 'Shop'),
  ('grace-1', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb', null),
  ('orphan', null, null);
insert into public.storage_generations
  (project_id, version, generation_id, bucket, object_key, status, sha256, archive_bytes) values
  ('ada-1', 1, 'g1', 'b', 'ada-1/1', 'verified', 's1', 10),
  ('ada-1', 2, 'g2', 'b', 'ada-1/2', 'pending', 's2', 20),
  ('grace-1', 1, 'g1', 'b', 'grace-1/1', 'uploaded', 's3', 30),
  ('orphan', 1, 'g1', 'b', 'orphan/1', 'uploaded', 's4', 40);
insert into public.storage_generations
  (project_id, version, generation_id, bucket, object_key, status, deleted_at) values
  ('ada-1', 3, 'g3', 'b', 'ada-1/3', 'deleted', now());
insert into public.storage_manifests (project_id, version, manifest) values
  ('grace-1', 1, '{"entries": [{"path": "secret", "size": 1, "sha256": "x", "mode": 420}]}');
-- Blocks of ten bytes: the first holds a, and the begin of B; the second the rest; the third é.
insert into public.storage_manifests (project_id, version, manifest, block_index) values
  ('ada-1', 1, '{
    "entries": [
      {"path": "a", "size": 2, "sha256": "sa", "mode": 420},
      {"path": "B", "size": 9, "sha256": "sb", "mode": 493},
      {"path": "é", "size": 3, "sha256": "se", "mode": 420},
      {"path": "z", "size": 0, "sha256": "sz", "mode": 420}],
    "artifacts": [{"path": "log", "size": 1, "sha256": "sl", "mode": 420}]
  }', '{"block_bytes": 10, "tar_bytes": 30, "blocks": [10, 107, 205], "entries": [3, 6, 21, 29], "artifacts": [28]}');
update public.storage_generations set archive_bytes = 310 where project_id = 'ada-1' and version = 1;
insert into storage.buckets (id, name, public) values ('b', 'b', false);
insert into storage.objects (bucket_id, name) values
  ('b', 'ada-1/1'), ('b', 'ada-1/2'), ('b', 'ada-1/3'), ('b', 'grace-1/1'), ('b', 'orphan/1'),
  ('b', 'unlisted');

create function pg_temp.sign_in(id text) returns void language sql as $$
  select set_config('request.jwt.claims', json_build_object('sub', id, 'role', 'authenticated')::text, true),
    set_config('request.jwt.claim.sub', id, true), set_config('role', 'authenticated', true)
$$;

-- Shape ---------------------------------------------------------------------------------------
reset role;
select has_table('public', 'storage_projects', 'projects have a table');
select has_table('public', 'storage_generations', 'generations have a table');
select ok((select bool_and(relrowsecurity) from pg_class
  where oid in ('storage_projects'::regclass, 'storage_generations'::regclass, 'storage_manifests'::regclass)),
  'every table has row level security');
select throws_ok($$ insert into storage_projects (id) values ('../x') $$, '23514', null,
  'a project id that is none is refused');
select throws_ok($$ insert into storage_projects (id) values ('ADA-1') $$, '23505', null,
  'two project ids that differ only in case are refused');
select throws_ok($$ insert into storage_generations (project_id, version, generation_id, bucket, object_key)
  values ('ada-1', 0, 'g', 'b', 'k') $$, '23514', null, 'version 0 is refused');
select throws_ok($$ insert into storage_generations (project_id, version, generation_id, bucket, object_key)
  values ('ada-1', 1, 'g9', 'b', 'k') $$, '23505', null, 'a version is taken once');
select throws_ok($$ insert into storage_generations (project_id, version, generation_id, bucket, object_key, status)
  values ('ada-1', 9, 'g9', 'b', 'k', 'deleted') $$, '23514', null, 'a tombstone says when');

-- An owner ------------------------------------------------------------------------------------
select pg_temp.sign_in('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa');
select results_eq('select id from storage_projects', array['ada-1'], 'an owner sees her projects');
select results_eq('select version from storage_generations order by version', array[1, 2],
  'an owner sees her generations, not the deleted one');
select is((select count(*) from storage_manifests), 1::bigint, 'an owner sees her manifests');
select results_eq($$ select name from storage.objects where bucket_id = 'b' $$, array['ada-1/1'],
  'an owner reads the archives that are uploaded and hers, no other object');
select throws_ok($$ insert into storage_projects (id, owner_id) values ('x', auth.uid()) $$, '42501', null,
  'a user inserts no project');
select throws_ok($$ update storage_generations set status = 'verified' $$, '42501', null,
  'a user updates no generation');
select throws_ok($$ delete from storage_generations $$, '42501', null, 'a user deletes no generation');
select throws_ok($$ insert into storage.objects (bucket_id, name) values ('b', 'ada-1/9') $$, '42501', null,
  'a user uploads no object');
select throws_ok($$ select storage_record_removals('ada-1', array[1]) $$, '42501', null,
  'a user calls nothing that is for the agent');
select throws_ok($$ select storage_list_tombstones(10) $$, '42501', null,
  'nor sees what others deleted');

select is(jsonb_array_length(storage_list_projects(10)), 1, 'the list has her projects alone');
select is(storage_list_projects(10) #>> '{0,versions}', '2', 'and counts what is not deleted');
select is(storage_list_projects(10) #>> '{0,archive_bytes}', '330', 'and its bytes');
select is(jsonb_path_query_array(storage_list_generations('ada-1', 10), '$[*].version'), '[2, 1]'::jsonb,
  'versions are listed newest first');
select is(jsonb_path_query_array(storage_list_generations('ada-1', 10, 2), '$[*].version'), '[1]'::jsonb,
  'and go on below the cursor');
select is(storage_list_generations('grace-1', 10), null, 'another''s project lists as none');
select is(storage_list_generations('nope', 10), null, 'as a missing one does');
select is(storage_get_generation('ada-1', 1) ->> 'object_key', 'ada-1/1', 'an owner gets a generation');
select is(storage_get_generation('ada-1', 3), null, 'not a deleted one');
select is(storage_get_generation('grace-1', 1), null, 'not another''s');

select is(jsonb_path_query_array(storage_list_files('ada-1', 1, 'source', 10), '$.files[*].path'),
  '["B", "a", "z", "é"]', 'files are listed by the bytes of their paths');
select is(jsonb_path_query_array(storage_list_files('ada-1', 1, 'source', 1, 'B'), '$.files[*].path'),
  '["a"]', 'and go on after the cursor');
select is(storage_list_files('ada-1', 1, 'artifacts', 10) -> 'files',
  '[{"path": "log", "size": 1, "sha256": "sl", "mode": 420}]', 'artifacts are apart');
select is(storage_list_files('ada-1', 2, 'source', 10) -> 'files', 'null', 'without a manifest the archive has to be asked');
select is(storage_list_files('grace-1', 1, 'source', 10), null, 'another''s files are not listed');
select is(storage_find_files('ada-1', 1, 'source', '{a}') #> '{files,0,span}',
  '{"begin": 10, "end": 107, "skip": 3, "inflated_bytes": 10}', 'a file is found in its block');
select is(storage_find_files('ada-1', 1, 'source', '{B}') #> '{files,0,span}',
  '{"begin": 10, "end": 205, "skip": 6, "inflated_bytes": 20}', 'or in two');
select is(storage_find_files('ada-1', 1, 'source', '{é}') #> '{files,0,span}',
  '{"begin": 205, "end": 300, "skip": 1, "inflated_bytes": 10}', 'the last block ends before the trailer');
select is(jsonb_array_length(storage_find_files('ada-1', 1, 'source', '{a,é,nothing}') -> 'files'), 2,
  'some files, and those that are not there are left out');
select is(storage_find_files('grace-1', 1, 'source', '{secret}'), null, 'another''s file is not found');
select is((select count(*) from storage_manifest_files('grace-1', 1, 'source')), 0::bigint,
  'nor read from her manifest');
select throws_ok($$ select storage_get_generation_of(auth.uid(), 'ada-1', 1) $$, '42501', null,
  'a user does not ask for others');

select ok(storage_activate_generation('ada-1', 1), 'an owner activates a version');
select is(storage_get_generation('ada-1', 1) ->> 'active', 'true', 'which then is the active one');
select ok(not storage_activate_generation('ada-1', 3), 'not a deleted one');
select ok(not storage_activate_generation('grace-1', 1), 'not another''s');
select is(storage_create_project('New') ->> 'name', 'New', 'a user creates a project');
select is((select count(*) from storage_projects), 2::bigint, 'and owns it');
select is(storage_usage(), '{"projects": 2, "generations": 2, "archive_bytes": 330, "source_bytes": 0}'::jsonb,
  'and sees what she uses in all');
select throws_ok($$ select storage_create_project('') $$, '23514', null, 'a project''s name is not empty');

select is(storage_delete_generation('grace-1', 1), null, 'another''s generation cannot be deleted');
select is(storage_delete_generation('ada-1', 1, 'g2'), null, 'nor one under another generation id');
select is(storage_delete_generation('ada-1', 1) ->> 'object_key', 'ada-1/1', 'an owner deletes a generation');
select is((select active_version from storage_projects where id = 'ada-1'), null,
  'which is then not the active one');
select is((select count(*) from storage.objects where bucket_id = 'b'), 0::bigint,
  'and its archive is readable no more, although it is there');
select isnt(storage_delete_generation('ada-1', 1), null, 'a repeat finishes it while the object is there');

select is(storage_delete_project('grace-1', 10), null, 'another''s project cannot be deleted');
select is(jsonb_array_length(storage_delete_project('ada-1', 2)), 2,
  'deleting a project tells which objects to remove, so many at a time');
select is(storage_list_generations('ada-1', 10), null, 'and nothing of it is listed any more');
select isnt(storage_delete_project('ada-1', 2), null, 'a repeat goes on while objects are there');

-- Nobody, and another ---------------------------------------------------------------------------
select pg_temp.sign_in('bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb');
select results_eq('select id from storage_projects', array['grace-1'], 'another sees hers alone');
reset role;
set local role anon;
select throws_ok('select * from storage_projects', '42501', null, 'without a user there is nothing to see');
select throws_ok($$ select storage_list_projects(1) $$, '42501', null, 'nor to call');

-- The agent ---------------------------------------------------------------------------------------
reset role;
set local role service_role;
select lives_ok($$ select storage_record_removals('ada-1', array[1]) $$, 'the agent notes that the object is gone');
select is(storage_record_generation('ada-1', 1, 's1', 'uploaded') ->> 'outcome', 'deleted',
  'and cannot bring back what was deleted');
select is(storage_reserve_generation('grace-1', 1, 'other', 'b', 'k', 'd', 's', 1, 1, 1, now()) ->> 'outcome',
  'conflict', 'nor take a version that is held');

select is(jsonb_path_query_array(storage_list_tombstones(10), '$[*].version'), '[1, 2, 3]'::jsonb,
  'and learns what was deleted, oldest first');
select is(storage_get_generation_of('bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb', 'grace-1', 1) ->> 'version', '1',
  'the function asks for the user whom a link names');
select is(storage_get_generation_of('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 'grace-1', 1), null,
  'who must own it');
select lives_ok($$ select storage_record_removals('ada-1', array[1, 2, 3]) $$, 'objects are noted as gone together');
reset role;
select pg_temp.sign_in('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa');
select is(storage_delete_project('ada-1', 10), null, 'and then nothing is left to delete');
reset role;
set local role service_role;
select is(storage_list_tombstones(10, 'infinity'), '[]'::jsonb, 'nothing after the last one');

-- Content that never got there is not what is there.
select is(storage_record_deletion('grace-1', 1, 'g1', 'other digest') ->> 'outcome', 'other',
  'a host deletes no content but its own');
select is((select status from storage_generations where project_id = 'grace-1' and version = 1), 'uploaded',
  'which stays');
select is(storage_reserve_generation('ada-1', 9, 'g9', 'b', 'k9', 'd', 's', 1, 1, 1, now()) ->> 'outcome',
  'conflict', 'what is saved into a deleted project is parked, not deleted');
select is(storage_reserve_generation('ada-1', 1, 'g1', 'b', 'k1', 'other', 's', 1, 1, 1, now()) ->> 'outcome',
  'conflict', 'nor is other content than what was deleted');
select is(storage_set_owner('orphan', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa') ->> 'outcome', 'set',
  'a project that is nobody''s gets an owner');
select is(storage_set_owner('orphan', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb') ->> 'outcome', 'conflict',
  'once');
insert into storage_projects (id) values ('late');
select is(storage_reserve_generation('late', 1, 'g', 'b', 'late/1', 'd', 's', 1, 1, 1, now()) ->> 'outcome',
  'reserved', 'a generation without an owner is taken');
select storage_reserve_generation('late', 1, 'g', 'b', 'late/1.x', 'd2', 's2', 1, 1, 1, now(),
  'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', true);
select is((select owner_id::text from storage_projects where id = 'late'), 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa',
  'and its replacement can name one');

-- What Storage says of the object is the proof.
update storage.objects set metadata = '{"eTag": "\"5d41\"", "size": 30}' where name = 'grace-1/1';
select is(storage_record_generation('grace-1', 1, 's3', 'uploaded', null, null, 'beef') ->> 'status',
  'uploaded', 'an archive of another MD5 is not proven');
update storage.objects set metadata = metadata || '{"size": 29}' where name = 'grace-1/1';
select is(storage_record_generation('grace-1', 1, 's3', 'uploaded', null, null, '5d41') ->> 'status',
  'uploaded', 'nor one of another size');
update storage.objects set metadata = metadata || '{"size": 30}' where name = 'grace-1/1';
select is(storage_record_generation('grace-1', 1, 's3', 'uploaded', null, null, '5d41') ->> 'status',
  'verified', 'the same is');
select is((select status from storage_generations where project_id = 'grace-1' and version = 1),
  'verified', 'and is recorded so at once');

-- Several in one request.
select is(
  storage_reserve_generations('[
    {"project_id": "many", "version": 2, "generation_id": "m2", "bucket": "b", "object_key": "m/2",
      "digest": "d", "sha256": "s", "archive_bytes": 1, "source_bytes": 1, "file_count": 1,
      "created_at": "2026-01-01T00:00:00Z", "owner_id": null, "replace": false},
    {"project_id": "many", "version": 1, "generation_id": "m1", "bucket": "b", "object_key": "m/1",
      "digest": "d", "sha256": "s", "archive_bytes": 1, "source_bytes": 1, "file_count": 1,
      "created_at": "2026-01-01T00:00:00Z", "owner_id": null, "replace": false}
  ]') -> 0,
  '{"project_id": "many", "version": 1, "outcome": "reserved", "status": "pending", "sha256": "s", "object_key": "m/1"}',
  'each of several is reserved, in the order of their names'
);
select is(
  jsonb_path_query_array(storage_record_generations('[
    {"project_id": "many", "version": 3, "sha256": "s", "status": "uploaded"},
    {"project_id": "many", "version": 2, "sha256": "x", "status": "uploaded"},
    {"project_id": "many", "version": 1, "sha256": "s", "status": "uploaded", "manifest": {"a": 1}, "block_index": null}
  ]'), '$[*].outcome'),
  '["recorded", "superseded", "missing"]', 'what is not the case for one is said of that one'
);
select is((select block_index from storage_manifests where project_id = 'many'), null, 'no index is none');
select throws_ok($$ select storage_reserve_generations('[
    {"project_id": "many", "version": 4, "generation_id": "m4", "bucket": "b", "object_key": "m/4",
      "digest": "d", "sha256": "s", "archive_bytes": 1, "source_bytes": 1, "file_count": 1,
      "created_at": "2026-01-01T00:00:00Z", "owner_id": null, "replace": false},
    {"project_id": "many", "version": 5, "generation_id": "m5"}
  ]') $$, '23502', null, 'one that fails');
select is((select count(*)::int from storage_generations where project_id = 'many'), 2, 'fails them all');

select is((
  select array_agg(tablename::text) from pg_publication_tables
  where pubname = 'supabase_realtime' and tablename like 'storage\_%'
), array['storage_generations'], 'live updates are of generations, without their manifests');

select * from finish();
rollback;
