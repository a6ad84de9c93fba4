-- Shared by the scripts that change who is in a room: counts the change and tells every node.
-- Returns how many users are in the room and its presence version.
local function announce(users, meta, changes, channel, room, change, list)
  local time = redis.call('TIME')
  local ms = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
  local version = redis.call('HINCRBY', meta, 'presence', 1)
  local count = redis.call('HLEN', users)
  redis.call('ZADD', changes, ms, room)
  redis.call('PUBLISH', channel, '1 P {"version":' .. version .. ',"count":' .. count
    .. ',"' .. change .. '":[' .. list .. ']}')
  return count, version
end
