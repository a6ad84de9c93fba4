-- Makes rooms wait for the archive that should and do not. Either a node without an archive stored
-- their events, or a failover lost the entry.
-- KEYS  1 the waiting rooms  then the metas     ARGV  1 time in ms  then the rooms
local found = 0
for i = 2, #KEYS do
  local top, archived = unpack(redis.call('HMGET', KEYS[i], 'top', 'archived'))
  if top and tonumber(top) > tonumber(archived or '0') then
    found = found + redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[i])
  end
end
return found
