-- A node gets its first, or loses its last, connection of a user in a room. Idempotent.
-- KEYS  1 users  2 the lease's users here  3 meta  4 changes  5 the lease's rooms
-- ARGV  1 channel  2 room  3 'enter' or 'exit'  4 user id  5 user as JSON  6 life of an unused room, s
-- Returns how many users are in the room and its presence version.
-- users: user id → number of nodes that have it, a space, the user as JSON
local value = redis.call('HGET', KEYS[1], ARGV[4])
local nodes, user = 0, ARGV[5]
if value then
  local count, json = string.match(value, '^(%d+) (.*)$')
  nodes = tonumber(count)
  if ARGV[3] == 'exit' then
    user = json
  end
end

local change
if ARGV[3] == 'enter' then
  if redis.call('SADD', KEYS[2], ARGV[4]) == 1 then
    redis.call('SADD', KEYS[5], ARGV[2])
    redis.call('HSET', KEYS[1], ARGV[4], (nodes + 1) .. ' ' .. user)
    change = nodes == 0 and 'joined'
  end
elseif redis.call('SREM', KEYS[2], ARGV[4]) == 1 then
  if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('SREM', KEYS[5], ARGV[2])
  end
  if nodes > 1 then
    redis.call('HSET', KEYS[1], ARGV[4], (nodes - 1) .. ' ' .. user)
  elseif nodes == 1 then
    redis.call('HDEL', KEYS[1], ARGV[4])
    change = 'left'
  end
end
if not change then
  return { redis.call('HLEN', KEYS[1]), tonumber(redis.call('HGET', KEYS[3], 'presence') or 0) }
end

local count, version =
  announce(KEYS[1], KEYS[3], KEYS[4], ARGV[1], ARGV[2], change, user)
if redis.call('TTL', KEYS[3]) == -1 then
  redis.call('EXPIRE', KEYS[3], ARGV[6])
end
return { count, version }
