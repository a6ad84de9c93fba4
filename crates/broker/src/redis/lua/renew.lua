#!lua flags=allow-oom
-- Renews a node's lease. A node that has not joined yet takes its lease only when it agrees with every
-- living node; until then it is listed as waiting. A Redis that is full takes it: its nodes still read.
-- KEYS  1 leases  2 leases of nodes that wait  3 settings of both, by lease  4 identity of the cluster
-- ARGV  1 this node's lease  2 life of a lease, ms  3 this node's settings
--       4 identity of the cluster, '' if this node knows none
--       5 '1': the node has joined; '0': it joins if each living lease is one of those that follow
-- Returns 1 if the lease was alive, 1 if the node has joined now, the expired leases, the living ones,
-- those that wait, the identity of the cluster ('' if there is none), when the lease was renewed before
-- (ms, '' never), and when it is renewed now
local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now, oldest = string.format('%.0f', ms), string.format('%.0f', ms - tonumber(ARGV[2]))
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
local alive = known and ms - tonumber(known) <= tonumber(ARGV[2])

local joins = true
if ARGV[5] ~= '1' then
  local agreed = { [ARGV[1]] = true }
  for i = 6, #ARGV do
    agreed[ARGV[i]] = true
  end
  for _, lease in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], oldest, '+inf')) do
    joins = joins and agreed[lease] ~= nil
  end
end
redis.call('ZADD', joins and KEYS[1] or KEYS[2], now, ARGV[1])
if joins then
  redis.call('ZREM', KEYS[2], ARGV[1])
  -- An emptied Redis gets it back from the first node that lives.
  if ARGV[4] ~= '' then
    redis.call('SET', KEYS[4], ARGV[4], 'NX')
  end
end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])

local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. oldest)
for _, lease in ipairs(dead) do
  redis.call('HDEL', KEYS[3], lease)
end
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. oldest)) do
  redis.call('HDEL', KEYS[3], lease)
  redis.call('ZREM', KEYS[2], lease)
end
return { alive and 1 or 0, joins and 1 or 0, dead,
  redis.call('ZRANGEBYSCORE', KEYS[1], oldest, '+inf'), redis.call('ZRANGE', KEYS[2], 0, -1),
  redis.call('GET', KEYS[4]) or '', known or '', now }
