-- Row level security and the SQL functions. Runs under `supabase test db`, and on PGlite in `npm test`.
begin;
create extension if not exists pgtap with schema extensions;
set local search_path = public, extensions;
select plan(166);

-- What is deleted goes at once: retention.sql has what is kept.
insert into public.storage_settings values ('undelete_days', '0')
on conflict (name) do update set value = excluded.value;

-- Three users, four projects, one of them nobody's.
insert into public.storage_projects (id, owner_id, name) values
  ('ada-1', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 'Shop'),
  ('grace-1', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb', null),
  ('eve-1', 'eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee', null),
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
select throws_ok($$ select storage_record_removals('[]') $$, '42501', null,
  'a user calls nothing that is for the agent');
select throws_ok($$ select storage_list_changes(10) $$, '42501', null,
  'nor sees what others deleted');
select throws_ok($$ select * from storage_archives $$, '42501', null, 'nor keys of archives');

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
select is(storage_delete_generation('ada-1', 1) -> 'objects', '[{"bucket": "b", "object_key": "ada-1/1"}]'::jsonb,
  'an owner deletes a generation');
select is((select active_version from storage_projects where id = 'ada-1'), null,
  'which is then not the active one');
select is((select count(*) from storage.objects where bucket_id = 'b'), 0::bigint,
  'and its archive is readable no more, although it is there');
select isnt(storage_delete_generation('ada-1', 1), null, 'a repeat finishes it while the object is there');

select is(storage_delete_project('grace-1', 10), null, 'another''s project cannot be deleted');
select storage_activate_generation('eve-1', 1), storage_delete_generation('eve-1', 1), storage_delete_project('eve-1', 1);
reset role;
-- A row that was locked bears the transaction that did it.
select is((select xmax::text from storage_projects where id = 'eve-1'), '0', 'and nobody makes its owner wait');
set local role authenticated;
select is(jsonb_array_length(storage_delete_project('ada-1', 2) -> 'objects'), 2,
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

create function pg_temp.item(version integer, more jsonb) returns jsonb language sql as $$
  select jsonb_build_object('project_id', 'p', 'version', version, 'generation_id', 'g', 'bucket', 'b',
    'digest', 'X', 'sha256', 'aaaaaaaaaaaaaaaa', 'archive_bytes', 5, 'source_bytes', 1, 'file_count', 1,
    'created_at', '2026-01-01T00:00:00Z', 'owner_id', null, 'replace', false) || more
$$;
create function pg_temp.reserve(version integer, more jsonb default '{}') returns jsonb language sql as $$
  select storage_reserve_generations(jsonb_build_array(pg_temp.item(version, more))) -> 0
$$;
create function pg_temp.record(version integer, key text, more jsonb default '{}') returns jsonb language sql as $$
  select storage_record_generations(jsonb_build_array(jsonb_build_object('project_id', 'p', 'version', version,
    'bucket', 'b', 'object_key', key, 'sha256', 'aaaaaaaaaaaaaaaa', 'status', 'uploaded', 'md5', 'beef') || more)) -> 0
$$;
-- As Storage writes it.
create function pg_temp.upload(key text, md5 text default 'beef', bytes integer default 5) returns void language sql as $$
  insert into storage.objects (bucket_id, name, metadata)
  values ('b', key, jsonb_build_object('eTag', format('"%s"', md5), 'size', bytes))
  on conflict (bucket_id, name) do update set metadata = excluded.metadata
$$;
create function pg_temp.clean(version integer) returns jsonb language sql as $$
  select set_config('storage.allow_delete_query', 'true', true);
  delete from storage.objects where (bucket_id, name) in (
    select bucket, object_key from storage_archives a where a.project_id = 'p' and a.version = clean.version and state = 'unneeded');
  select storage_record_removals(storage_unneeded_of('p', version))
$$;

select is(storage_record_generation('{"project_id": "ada-1", "version": 1, "bucket": "b", "object_key": "ada-1/1",
  "sha256": "other", "status": "uploaded"}') ->> 'outcome', 'missing', 'what no host reserved is not recorded');
select is(jsonb_path_query_array(storage_list_changes(1000000), '$[*] ? (@.project_id == "ada-1").version'), '[1, 2, 3]'::jsonb,
  'a host learns what was deleted');
select is(storage_get_generation_of('bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb', 'grace-1', 1) ->> 'version', '1',
  'the function asks for the user whom a link names');
select is(storage_get_generation_of('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa', 'grace-1', 1), null,
  'who must own it');
select lives_ok($$ select storage_record_removals('[{"bucket": "b", "object_key": "ada-1/1"},
  {"bucket": "b", "object_key": "ada-1/2"}, {"bucket": "b", "object_key": "ada-1/3"}]') $$,
  'objects are noted as gone together');
reset role;
select pg_temp.sign_in('aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa');
select is(storage_delete_project('ada-1', 10), null, 'and then nothing is left to delete');
reset role;
set local role service_role;
select is(storage_list_changes(10, storage_last_change()), '[]'::jsonb, 'nothing after the last one');

-- Content that never got there is not what is there.
select is(storage_record_deletion('b', 'grace-1', 1, 'g1', '{other digest}') ->> 'outcome', 'recorded',
  'what has no digest is deleted whatever it is');
update storage_generations set digest = 'D', status = 'uploaded', deleted_at = null
where project_id = 'grace-1';
select is(storage_record_deletion('b', 'grace-1', 1, 'g1', '{other digest}') ->> 'outcome', 'other',
  'a host deletes no content but its own');
select is((select status from storage_generations where project_id = 'grace-1' and version = 1), 'uploaded',
  'which stays');
select is(pg_temp.reserve(9, '{"project_id": "ada-1"}') ->> 'reason', 'the project was deleted',
  'what is saved into a deleted project is parked, not deleted');
select is(pg_temp.reserve(1, '{"project_id": "ada-1", "generation_id": "g1"}') ->> 'outcome',
  'conflict', 'nor is other content than what was deleted');
select is(storage_set_owner('orphan', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa') ->> 'outcome', 'set',
  'a project that is nobody''s gets an owner');
select is(storage_set_owner('orphan', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'),
  '{"outcome": "conflict", "owner_id": "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"}'::jsonb, 'once');
select is(storage_set_owner('orphan', 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb', true) ->> 'outcome', 'set',
  'unless it is a transfer');

-- One key, one archive.
select is(pg_temp.reserve(1), '{"project_id": "p", "version": 1, "outcome": "reserved", "status": "pending",
  "sha256": "aaaaaaaaaaaaaaaa", "object_key": "p/generations/v1__g.tar.gz", "owner_id": null, "unneeded": []}'::jsonb,
  'the first to reserve gets the key of the generation');
select is(pg_temp.reserve(1) ->> 'object_key', 'p/generations/v1__g.tar.gz', 'and again the same');
select is(pg_temp.reserve(1, '{"sha256": "bbbbbbbbbbbbbbbb"}') ->> 'object_key',
  'p/generations/v1__g.bbbbbbbbbbbb.tar.gz', 'other bytes of the same content get another');
select is(pg_temp.reserve(1, '{"sha256": "bbbbbbbbbbbbcccc"}') ->> 'object_key',
  'p/generations/v1__g.bbbbbbbbbbbbc.tar.gz', 'also where they begin alike');
select is(pg_temp.reserve(1, '{"generation_id": "other"}') ->> 'cause', 'version', 'a version is held by one');
select is(pg_temp.reserve(1, '{"digest": "Y"}') ->> 'cause', 'content', 'and holds one content');
select is(pg_temp.record(1, 'p/generations/v1__g.tar.gz') ->> 'outcome', 'absent',
  'what is not in the bucket is not recorded, whoever says so');
select pg_temp.upload('p/generations/v1__g.tar.gz', 'dead');
select is(pg_temp.record(1, 'p/generations/v1__g.tar.gz') ->> 'status', 'uploaded',
  'an archive of another MD5 is not proven');
select pg_temp.upload('p/generations/v1__g.tar.gz', 'beef', 4);
select is(pg_temp.record(1, 'p/generations/v1__g.tar.gz') ->> 'status', 'uploaded', 'nor one of another size');
select pg_temp.upload('p/generations/v1__g.tar.gz');
select is(pg_temp.record(1, 'p/generations/v1__g.tar.gz') ->> 'status', 'verified', 'the same is');
select pg_temp.upload('p/generations/v1__g.bbbbbbbbbbbb.tar.gz');
select is(pg_temp.record(1, 'p/generations/v1__g.bbbbbbbbbbbb.tar.gz', '{"sha256": "bbbbbbbbbbbbbbbb"}') ->> 'outcome',
  'known', 'the same content from another host is there already');
select is(jsonb_array_length(storage_unneeded_of('p', 1)), 2, 'and what it sent is to be removed');
select lives_ok($$ select pg_temp.clean(1) $$, 'which its host does');
select is(storage_unneeded_of('p', 1), '[]'::jsonb, 'and says so');
select is((select object_key from storage_generations where project_id = 'p'), 'p/generations/v1__g.tar.gz',
  'the row names what is there');

-- A replacement, and what comes late.
select is(pg_temp.reserve(1, '{"digest": "Y", "sha256": "yyyyyyyyyyyyyyyy", "replace": true, "created_at": "2026-01-02T00:00:00Z"}')
  ->> 'object_key', 'p/generations/v1__g.yyyyyyyyyyyy.tar.gz', 'a replacement gets a key of its own');
select is(pg_temp.reserve(1, '{"digest": "Z", "sha256": "zzzzzzzzzzzzzzzz", "replace": true, "created_at": "2026-01-02T00:00:01Z"}')
  ->> 'object_key', 'p/generations/v1__g.zzzzzzzzzzzz.tar.gz', 'as does that of another host');
select is((select digest from storage_generations where project_id = 'p'), 'X', 'until then the row is what it was');
select pg_temp.upload('p/generations/v1__g.yyyyyyyyyyyy.tar.gz');
select is(pg_temp.record(1, 'p/generations/v1__g.yyyyyyyyyyyy.tar.gz', '{"sha256": "yyyyyyyyyyyyyyyy"}') -> 'unneeded',
  '[{"bucket": "b", "object_key": "p/generations/v1__g.tar.gz"},
    {"bucket": "b", "object_key": "p/generations/v1__g.zzzzzzzzzzzz.tar.gz"}]'::jsonb,
  'recorded, it makes every other archive unneeded');
select is((select row(digest, epoch, status)::text from storage_generations where project_id = 'p'), '(Y,2,verified)',
  'and the row names it');
select is(pg_temp.record(1, 'p/generations/v1__g.tar.gz') ->> 'outcome', 'superseded', 'what it replaced comes late');
select is(pg_temp.reserve(1) ->> 'outcome', 'superseded', 'also where it is reserved again');
select pg_temp.upload('p/generations/v1__g.zzzzzzzzzzzz.tar.gz');
select is(pg_temp.record(1, 'p/generations/v1__g.zzzzzzzzzzzz.tar.gz', '{"sha256": "zzzzzzzzzzzzzzzz"}') ->> 'digest', 'Y',
  'as does the other replacement, whose host is told what is there');
select is(pg_temp.reserve(1, '{"digest": "Z", "sha256": "zzzzzzzzzzzzzzzz", "replace": true, "created_at": "2026-01-02T00:00:01Z"}')
  ->> 'outcome', 'superseded', 'it does not come back by being reserved again');
select is(pg_temp.reserve(1, '{"digest": "Z", "sha256": "zzzzzzzzzzzz0000", "replace": true, "created_at": "2026-01-03T00:00:00Z"}')
  ->> 'object_key', 'p/generations/v1__g.zzzzzzzzzzzz0.tar.gz', 'unless it is saved again, under a new key');
select is(jsonb_path_query_array(storage_list_changes(1000000), '$[*].project_id') @> '["p"]', true,
  'hosts learn of the replacement');
select lives_ok($$ select pg_temp.clean(1) $$, 'what was replaced is removed');

-- An object that was lost is sent again.
select set_config('storage.allow_delete_query', 'true', true);
delete from storage.objects where name = 'p/generations/v1__g.yyyyyyyyyyyy.tar.gz';
select is(pg_temp.reserve(1, '{"digest": "Y", "sha256": "yyyyyyyyyyyyyyyy", "replace": true, "created_at": "2026-01-02T00:00:00Z"}')
  ->> 'status', 'pending', 'what the bucket lost is pending again, under its own key');
select is(pg_temp.reserve(1, '{"digest": "Y", "sha256": "1111111111111111", "created_at": "2026-01-02T00:00:00Z"}')
  ->> 'object_key', 'p/generations/v1__g.111111111111.tar.gz', 'or another host sends it');
select pg_temp.upload('p/generations/v1__g.111111111111.tar.gz');
select is(pg_temp.record(1, 'p/generations/v1__g.111111111111.tar.gz', '{"sha256": "1111111111111111"}') ->> 'outcome',
  'recorded', 'whose archive the row names then');
select is((select epoch from storage_generations where project_id = 'p'), 2, 'the content is what it was');

-- A host that changes its mind leaves nothing of what it was about to send.
select is(pg_temp.reserve(1, '{"digest": "V", "sha256": "vvvvvvvvvvvvvvvv", "replace": true, "created_at": "2026-01-04T00:00:00Z",
  "host_id": "cccccccc-cccc-4ccc-8ccc-cccccccccccc"}') -> 'unneeded' @> '[{"object_key": "p/generations/v1__g.vvvvvvvvvvvv.tar.gz"}]',
  false, 'a host is about to send a replacement');
select is(pg_temp.reserve(1, '{"digest": "Y", "sha256": "2222222222222222", "replace": true, "created_at": "2026-01-05T00:00:00Z",
  "host_id": "dddddddd-dddd-4ddd-8ddd-dddddddddddd"}') -> 'unneeded' @> '[{"object_key": "p/generations/v1__g.vvvvvvvvvvvv.tar.gz"}]',
  false, 'another host has nothing to do with it');
select is(pg_temp.reserve(1, '{"digest": "Y", "sha256": "2222222222222222", "replace": true, "created_at": "2026-01-05T00:00:00Z",
  "host_id": "cccccccc-cccc-4ccc-8ccc-cccccccccccc"}') -> 'unneeded' @> '[{"object_key": "p/generations/v1__g.vvvvvvvvvvvv.tar.gz"}]',
  true, 'and then is not');

-- A failure, and a deletion.
select is(pg_temp.reserve(2) ->> 'outcome', 'reserved', 'another is reserved');
select is(storage_record_failure('p', 2, 'g', 'other', 'no') ->> 'outcome', 'other', 'what fails is one content');
select is(storage_record_failure('p', 2, 'g', 'X', 'too large') ->> 'outcome', 'recorded', 'its failure is recorded');
select is((select failure from storage_generations where project_id = 'p' and version = 2), 'too large',
  'with the reason');
select is(storage_record_failure('p', 1, 'g', 'Y', 'too large') ->> 'outcome', 'other', 'not of what is there');
select is(pg_temp.reserve(2) ->> 'status', 'pending', 'tried again it is pending');
select is((select failure from storage_generations where project_id = 'p' and version = 2), null, 'without a reason');
-- What lies in the bucket and no row knows of.
select pg_temp.upload('p/generations/v7__g.tar.gz');
select is(pg_temp.reserve(7, '{"md5": "another"}') ->> 'object_key', 'p/generations/v7__g.aaaaaaaaaaaa.tar.gz',
  'no key is given where other bytes lie');
select is(storage_record_damage('b', 'p', 7, 'p/generations/v7__g.tar.gz') ->> 'outcome', 'other',
  'damage is of the object that the row names');
select pg_temp.upload('p/generations/v7__g.aaaaaaaaaaaa.tar.gz');
select is(pg_temp.record(7, 'p/generations/v7__g.aaaaaaaaaaaa.tar.gz') ->> 'outcome', 'recorded', 'it is recorded');
select is(storage_record_damage('b', 'p', 7, 'p/generations/v7__g.aaaaaaaaaaaa.tar.gz') -> 'unneeded',
  '[{"bucket": "b", "object_key": "p/generations/v7__g.aaaaaaaaaaaa.tar.gz"}]'::jsonb, 'what is damaged is to be removed');
select is(pg_temp.reserve(7) ->> 'status', 'pending', 'then it is sent anew');
select isnt(pg_temp.reserve(7) ->> 'object_key', 'p/generations/v7__g.aaaaaaaaaaaa.tar.gz', 'under another key');

select is(storage_record_deletion('b', 'p', 2, 'g', '{X}') -> 'unneeded',
  '[{"bucket": "b", "object_key": "p/generations/v2__g.tar.gz"}]'::jsonb, 'a deletion tells every key that was given out');
select pg_temp.upload('p/generations/v2__g.tar.gz');
select is(pg_temp.record(2, 'p/generations/v2__g.tar.gz') ->> 'outcome', 'deleted', 'an upload that comes late is told');
select lives_ok($$ select pg_temp.clean(2) $$, 'and goes');
select is(storage_unneeded_of('p', 2), '[]', 'then nothing of it is left');
select is(pg_temp.reserve(2) ->> 'outcome', 'deleted', 'what was deleted does not come back');
select is(pg_temp.reserve(2, '{"digest": "W", "replace": true, "created_at": "2026-02-01T00:00:00Z"}') ->> 'outcome', 'conflict',
  'other content is not deleted with it');
select is(storage_record_deletion('b', 'p', 3, 'g', '{X}') ->> 'outcome', 'recorded',
  'what was never here leaves a tombstone too');
select is(pg_temp.reserve(3) ->> 'outcome', 'deleted', 'so that a reservation under way comes too late');
-- What a host replaced before it got there: that content is not among those that it deletes.
select is(pg_temp.reserve(8, '{"digest": "Y", "sha256": "3333333333333333", "host_id": "cccccccc-cccc-4ccc-8ccc-cccccccccccc"}') ->> 'outcome',
  'reserved', 'a host is about to send something');
select is(storage_record_deletion('b', 'p', 8, 'g', '{X}', 'dddddddd-dddd-4ddd-8ddd-dddddddddddd') ->> 'outcome', 'other',
  'which another host does not delete');
select is(storage_record_deletion('b', 'p', 8, 'g', '{X}', 'cccccccc-cccc-4ccc-8ccc-cccccccccccc') -> 'unneeded',
  '[{"bucket": "b", "object_key": "p/generations/v8__g.tar.gz"}]'::jsonb, 'and it itself does, whatever it has become here');
select lives_ok($$ select pg_temp.clean(8) $$, 'so that it goes');

-- What a host sent before the database was put back is unneeded once it has something else.
select is(pg_temp.reserve(12, '{"earlier_keys": ["p/generations/v12__g.bbbbbbbbbbbb.tar.gz", "p/generations/v1__g.tar.gz", "q/generations/v12__g.tar.gz"]}') -> 'unneeded',
  '[{"bucket": "b", "object_key": "p/generations/v12__g.bbbbbbbbbbbb.tar.gz"}]'::jsonb, 'keys of this very version alone');
select is(pg_temp.reserve(12, '{"earlier_keys": ["p/generations/v12__g.tar.gz"]}') ->> 'object_key',
  'p/generations/v12__g.tar.gz', 'what the row names is no earlier key');
select is(storage_record_deletion('b', 'p', 12, 'g', '{X}', null, '{p/generations/v12__g.cccccccccccc.tar.gz}') -> 'unneeded'
  @> '[{"bucket": "b", "object_key": "p/generations/v12__g.cccccccccccc.tar.gz"}]', true, 'a deletion notes them too');
select lives_ok($$ select pg_temp.clean(12) $$, 'all of them go');
update storage_archives set look_again_at = null where version = 12;

-- What an upload under way may have left is looked for once more. Others may have something to remove, too.
create function pg_temp.unneeded() returns jsonb language sql as $$
  select jsonb_path_query_array(storage_list_unneeded(1000000), '$[*] ? (@.bucket == "b")')
$$;
select is(pg_temp.unneeded(), '[]'::jsonb, 'nothing is left to remove');
update storage_archives set look_again_at = now() - interval '1 minute' where object_key = 'p/generations/v2__g.tar.gz';
select is(pg_temp.unneeded(), '[{"bucket": "b", "object_key": "p/generations/v2__g.tar.gz"}]'::jsonb,
  'until it is time to look again');
select lives_ok($$ select storage_record_removals(pg_temp.unneeded()) $$, 'which is done once');
select is(pg_temp.unneeded(), '[]'::jsonb, 'and over');

-- The last word on what is active counts, by when it was said.
insert into storage_projects (id, owner_id) values ('act', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa');
insert into storage_generations (project_id, version, generation_id, bucket, object_key) values
  ('act', 1, 'g1', 'b', 'act/1'), ('act', 2, 'g2', 'b', 'act/2');
select is(storage_set_active('act', 1, 'other', now()) ->> 'outcome', 'missing', 'of another generation nothing is said');
select is(storage_set_active('nope', 1, 'g1', now()) ->> 'outcome', 'missing', 'nor of another project');
select is(storage_set_active('act', 1, 'g1', now() - interval '1 hour') ->> 'outcome', 'set', 'a host says which is active');
select is(storage_set_active('act', 2, 'g2', now() - interval '2 hours') ->> 'outcome', 'later', 'an earlier word comes too late');
select is((select active_version from storage_projects where id = 'act'), 1, 'and changes nothing');
select is(storage_set_active('act', 2, 'g2', now() + interval '1 year') ->> 'outcome', 'set', 'a later one counts');
select is((select activated_at <= now() from storage_projects where id = 'act'), true, 'and speaks for no future');
select is(storage_list_active(10) #>> '{0,generation_id}', 'g2', 'hosts learn it');
select is(storage_list_active(10, now(), 'act'), '[]'::jsonb, 'once');

-- A database that was put back knows fewer visits of a host than the host.
select is(storage_check_in('cccccccc-cccc-4ccc-8ccc-cccccccccccc', 0) - 'last_change', '{"outcome": "known", "count": 1}'::jsonb, 'a host checks in');
select is(storage_check_in('cccccccc-cccc-4ccc-8ccc-cccccccccccc', 1) - 'last_change', '{"outcome": "known", "count": 2}'::jsonb, 'and again');
select is(storage_check_in('cccccccc-cccc-4ccc-8ccc-cccccccccccc', 1) ->> 'outcome', 'known', 'also where an answer was lost');
select is(storage_check_in('cccccccc-cccc-4ccc-8ccc-cccccccccccc', 7) - 'last_change', '{"outcome": "older", "count": 0}'::jsonb,
  'what it knows and the database does not is noticed');
select is(storage_check_in('cccccccc-cccc-4ccc-8ccc-cccccccccccc', 7) ->> 'outcome', 'older', 'until it begins again');
select is(storage_check_in('cccccccc-cccc-4ccc-8ccc-cccccccccccc', 0) ->> 'outcome', 'known', 'at 0');

-- A bucket that keeps old versions has a row of each.
reset role;
alter table storage.objects add column archived_at timestamptz;
set local role service_role;
select is(pg_temp.reserve(4) ->> 'status', 'pending', 'another is reserved');
select pg_temp.upload('p/generations/v4__g.tar.gz');
update storage.objects set archived_at = now() where name = 'p/generations/v4__g.tar.gz';
select is(pg_temp.record(4, 'p/generations/v4__g.tar.gz') ->> 'outcome', 'absent', 'an archived object is none');

-- Several in one request.
select is(
  jsonb_path_query_array(storage_reserve_generations(jsonb_build_array(
    pg_temp.item(2, '{"project_id": "many"}'), pg_temp.item(1, '{"project_id": "many"}'))), '$[*].version'),
  '[1, 2]', 'several are reserved in the order of their names');
select is(
  jsonb_path_query_array(storage_record_generations('[
    {"project_id": "many", "version": 3, "bucket": "b", "object_key": "k", "sha256": "s", "status": "uploaded"},
    {"project_id": "many", "version": 1, "bucket": "b", "object_key": "many/generations/v1__g.tar.gz",
      "sha256": "aaaaaaaaaaaaaaaa", "status": "uploaded"}
  ]'), '$[*].outcome'),
  '["absent", "missing"]', 'what is not the case for one is said of that one');
select throws_ok($$ select storage_reserve_generations(jsonb_build_array(
    pg_temp.item(4, '{"project_id": "many"}'), pg_temp.item(5, '{"project_id": "many", "bucket": null}'))) $$,
  '23502', null, 'one that fails');
select is((select count(*)::int from storage_generations where project_id = 'many'), 2, 'fails them all');

select * from finish();
rollback;
