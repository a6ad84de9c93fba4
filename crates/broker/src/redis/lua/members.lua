#!lua flags=no-writes
-- Reads a room's presence.
-- KEYS  1 users  2 meta     ARGV  1 the most to list
-- Returns the count, the presence version, the values of `users` if there are not too many, and the
-- number of the list (0: there is none).
local count = redis.call('HLEN', KEYS[1])
local version = redis.call('HGET', KEYS[2], 'presence') or 0
local users = {}
if count <= tonumber(ARGV[1]) then
  users = redis.call('HVALS', KEYS[1])
end
local registry = redis.call('HGET', KEYS[2], 'registry') or 0
return { count, tonumber(version), users, tonumber(registry) }
