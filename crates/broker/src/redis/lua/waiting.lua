-- Has rooms wait for the archive that should and do not: their events came by a node that knows no
-- archive, or a failover has lost the note.
-- KEYS  1 rooms that wait  then the metas     ARGV  1 time in ms  then the rooms
local found = 0
for i = 2, #KEYS do
  local top, archived = unpack(redis.call('HMGET', KEYS[i], 'top', 'archived'))
  if top and tonumber(top) > tonumber(archived or '0') then
    found = found + redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[i])
  end
end
return found
