#!lua flags=no-writes
-- Whether a lease has registered its users in the room's present list of users.
-- KEYS  1 users  2 the lease's users here  3 meta
local registry = redis.call('HGET', KEYS[3], 'registry')
if not registry or redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
return redis.call('SISMEMBER', KEYS[2], '\1' .. registry)
