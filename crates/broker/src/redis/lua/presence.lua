-- Registers users who got their first connection in a room on a node, or lost their last.
-- Idempotent.
-- KEYS  1 users  2 the lease's users here  3 meta  4 changes  5 the lease's rooms
--       6 marks of webhooks  7 joins and leaves for them, then for each webhook its waiting rooms
-- ARGV  1 channel  2 room  3 life of an unused room, s  4 of a used one, s
--       5 names of the webhooks that want joins and leaves, separated by spaces
--       6 the most joins and leaves that are stored for them
--       then for each user, once: 'enter' or 'exit', ID, user as JSON, the number of the list in
--       which the node registered the user before (0: in none)
-- Returns the number of users in the room, its presence version and the number of the list.
-- users: user ID → number of nodes that have the user, a space, the user as JSON
local has_enter = false
for i = 7, #ARGV, 4 do
  has_enter = has_enter or ARGV[i] == 'enter'
end
local registry = registry_of(KEYS[1], KEYS[2], KEYS[3], has_enter)
-- arrived: the part of `joined` that webhooks receive. A user from a list that was lost did not
-- just come.
local joined, arrived, left = {}, {}, {}
local function enter(id, user, nodes, before)
  local is_new = redis.call('SADD', KEYS[2], id) == 1
  if not is_new and nodes > 0 then
    return
  end
  redis.call('HSET', KEYS[1], id, (nodes + 1) .. ' ' .. user)
  if nodes == 0 then
    joined[#joined + 1] = user
    if before == '0' or before == registry then
      arrived[#arrived + 1] = user
    end
  end
end
for i = 7, #ARGV, 4 do
  local way, id, user = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local nodes = 0
  local value = redis.call('HGET', KEYS[1], id)
  if value then
    local count, known = string.match(value, '^(%d+) (.*)$')
    nodes = tonumber(count)
    if way == 'exit' then
      user = known
    end
  end
  if way == 'enter' then
    enter(id, user, nodes, ARGV[i + 3])
  elseif redis.call('SREM', KEYS[2], id) == 1 then
    if nodes > 1 then
      redis.call('HSET', KEYS[1], id, (nodes - 1) .. ' ' .. user)
    elseif nodes == 1 then
      redis.call('HDEL', KEYS[1], id)
      left[#left + 1] = user
    end
  end
end
if redis.call('SCARD', KEYS[2]) == 1 and redis.call('SISMEMBER', KEYS[2], MARK .. registry) == 1 then
  redis.call('UNLINK', KEYS[2])
end
redis.call(redis.call('EXISTS', KEYS[2]) == 1 and 'SADD' or 'SREM', KEYS[5], ARGV[2])
if #joined + #left == 0 then
  local version = tonumber(redis.call('HGET', KEYS[3], 'presence') or 0)
  return { redis.call('HLEN', KEYS[1]), version, tonumber(registry) }
end
local count, version = announce(KEYS[1], KEYS[3], KEYS[4], ARGV[1], ARGV[2], { ARGV[3], ARGV[4] },
  registry, joined, left)
if #arrived + #left > 0 then
  attend(hooks_of(ARGV[5], 8, KEYS[6], ARGV[4]), KEYS[3], KEYS[7], ARGV[2], ARGV[6], arrived, left)
end
return { count, version, tonumber(registry) }
