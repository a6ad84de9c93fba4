-- Removes the users of an expired lease from a room. A second call finds nothing.
-- KEYS  1 users  2 the lease's users here  3 meta  4 changes  5 the lease's rooms
--       6 marks of webhooks  7 joins and leaves for them, then for each webhook its waiting rooms
-- ARGV  1 channel  2 room  3 life of an unused room, s  4 of a used one, s
--       5 names of the webhooks that want joins and leaves, separated by spaces
--       6 the most joins and leaves that are stored for them
local registry = registry_of(KEYS[1], KEYS[2], KEYS[3], false)
local gone = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local value = redis.call('HGET', KEYS[1], id)
  if value then
    local nodes, user = string.match(value, '^(%d+) (.*)$')
    if tonumber(nodes) > 1 then
      redis.call('HSET', KEYS[1], id, (tonumber(nodes) - 1) .. ' ' .. user)
    else
      redis.call('HDEL', KEYS[1], id)
      gone[#gone + 1] = user
    end
  end
end
redis.call('UNLINK', KEYS[2])
redis.call('SREM', KEYS[5], ARGV[2])
if #gone > 0 then
  announce(KEYS[1], KEYS[3], KEYS[4], ARGV[1], ARGV[2], { ARGV[3], ARGV[4] }, registry, {},
    gone)
  attend(hooks_of(ARGV[5], 8, KEYS[6], ARGV[4]), KEYS[3], KEYS[7], ARGV[2], ARGV[6], {}, gone)
end
return #gone
