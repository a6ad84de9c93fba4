#!lua flags=allow-oom
-- Settles which secret the cluster has, when a node knows another one than Redis holds, or Redis holds
-- none. The older one counts, so that a node which starts after Redis was emptied does not replace what
-- the others have signed with. Tokens of the one that gives way go on counting.
-- KEYS  1 secret  2 since when it is the cluster's, ms  3 secrets that gave way, by the time (ms)
-- ARGV  1 this node's secret  2 since when it is the cluster's, ms, '' it is new and nobody has used it
--       3 how long secrets that gave way are kept, s  4 how many of them
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local there = redis.call('GET', KEYS[1])
if there == ARGV[1] then
  return
end
if not there then
  redis.call('SET', KEYS[1], ARGV[1])
  redis.call('SET', KEYS[2], ARGV[2] == '' and string.format('%.0f', now) or ARGV[2])
  return
end
if ARGV[2] == '' then
  return
end
local loser = ARGV[1]
-- One of a version that noted no time is older than all that have one.
if tonumber(ARGV[2]) < tonumber(redis.call('GET', KEYS[2]) or '0') then
  loser = there
  redis.call('SET', KEYS[1], ARGV[1])
  redis.call('SET', KEYS[2], ARGV[2])
end
redis.call('ZADD', KEYS[3], string.format('%.0f', now), loser)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now - tonumber(ARGV[3]) * 1000))
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[4]))
redis.call('EXPIRE', KEYS[3], ARGV[3])
