-- Live updates, where the platform has Realtime: a message to the owner of a generation about each
-- change of its state. Not by postgres_changes: that never delivers what its policy hides, and that
-- is what was deleted.

create function public.storage_broadcast()
returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  owner uuid;
begin
  if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is null then
    return null;
  end if;
  select owner_id into owner from public.storage_projects where id = new.project_id;
  if owner is null then
    return null;
  end if;
  begin
    execute 'select realtime.send($1, $2, $3, true)' using
      jsonb_build_object(
        'project_id', new.project_id, 'version', new.version, 'generation_id', new.generation_id,
        'status', new.status, 'failure', new.failure, 'digest', new.digest
      ),
      'generation.' || new.status,
      'storage:' || owner;
  exception when others then
    -- Who listens misses it, and asks. Nobody's upload fails for it.
    raise warning 'Realtime did not take a message: %', sqlerrm;
  end;
  return null;
end
$$;
comment on function public.storage_broadcast is
  'Sends the owner of a generation what became of it: event generation.{status}, topic storage:{owner}.';

revoke all on function public.storage_broadcast() from public, anon, authenticated;
grant execute on function public.storage_broadcast() to service_role;

create trigger storage_generations_told
  after insert on public.storage_generations
  for each row execute function public.storage_broadcast();
create trigger storage_generations_told_again
  after update on public.storage_generations
  for each row when (
    old.status is distinct from new.status or old.digest is distinct from new.digest
  )
  execute function public.storage_broadcast();

create function public.storage_allow_listening()
returns void
language plpgsql
set search_path = ''
as $$
begin
  if to_regclass('realtime.messages') is not null then
    execute 'drop policy if exists "owners hear of their generations" on realtime.messages';
    execute $policy$
      create policy "owners hear of their generations" on realtime.messages
        for select to authenticated
        using (
          (select realtime.topic()) = 'storage:' || (select auth.uid())::text
          and extension = 'broadcast'
        )
    $policy$;
  end if;
end
$$;
comment on function public.storage_allow_listening is
  'Lets each user listen to a topic of their own, where Realtime is; nobody sends there but the database.';
revoke all on function public.storage_allow_listening() from public, anon, authenticated;
grant execute on function public.storage_allow_listening() to service_role;
select public.storage_allow_listening();
