-- Shared by the scripts that change a room's presence: counts the change and tells every node. A
-- room with members is kept as long as it has them.
-- lives: { life of an unused room, life of a used one }, s
local function announce(users, meta, changes, channel, room, lives, registry, joined, left)
  local time = redis.call('TIME')
  local ms = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
  local version = redis.call('HINCRBY', meta, 'presence', 1)
  local count = redis.call('HLEN', users)
  if count > 0 then
    redis.call('PERSIST', meta)
  else
    local used = tonumber(redis.call('HGET', meta, 'top') or 0) > 0
    redis.call('EXPIRE', meta, used and lives[2] or lives[1])
  end
  redis.call('ZADD', changes, ms, room)
  redis.call('PUBLISH', channel, '1 P {"version":' .. version .. ',"registry":' .. registry
    .. ',"count":' .. count
    .. ',"joined":[' .. table.concat(joined, ',') .. '],"left":[' .. table.concat(left, ',') .. ']}')
  return count, version
end
