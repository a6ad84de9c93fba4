-- Shared by the scripts that change a room's presence: the number of the room's list of users,
-- which is the time (us) when the list began. A list that Redis has lost begins again under another
-- number. A lease's set carries a mark with the number of the list to which it belongs, so that a
-- set of a lost list does not count as registered users.
local MARK = '\1'

local function now_us()
  local time = redis.call('TIME')
  return string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
end

-- Returns the number of the list ('0': there is none). may_begin: a user enters, so a missing list
-- begins. Afterwards the lease's set holds only users of this list.
local function registry_of(users, own, meta, may_begin)
  local registry = redis.call('HGET', meta, 'registry')
  local is_there = redis.call('EXISTS', users) == 1
  if may_begin and not (is_there and registry) then
    -- A list without a number is from an older version, or `meta` was lost: any mark is newer.
    registry = is_there and '1' or now_us()
    redis.call('HSET', meta, 'registry', registry)
  end
  if not registry then
    return '0'
  end
  if redis.call('SISMEMBER', own, MARK .. registry) == 1 then
    return registry
  end
  local mark
  for _, id in ipairs(redis.call('SMEMBERS', own)) do
    if string.sub(id, 1, 1) == MARK then
      mark = string.sub(id, 2)
    end
  end
  if may_begin and mark and is_there and tonumber(mark) > tonumber(registry) then
    -- `meta` is older than the list, so the list's counts cannot be trusted.
    registry = now_us()
    redis.call('HSET', meta, 'registry', registry)
    redis.call('UNLINK', users)
  end
  if mark then
    redis.call('UNLINK', own)
  end
  if may_begin then
    redis.call('SADD', own, MARK .. registry)
  end
  return registry
end
