#!lua
-- A node says that it lives.
-- KEYS  1 nodes     ARGV  1 this node's lease  2 life of a lease, ms
-- Returns 1 if the lease was alive, then the leases that have expired, then those that live
local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%.0f', ms), ARGV[1])
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf',
  string.format('(%.0f', ms - tonumber(ARGV[2])))
local alive = known and ms - tonumber(known) <= tonumber(ARGV[2])
local living = redis.call('ZRANGEBYSCORE', KEYS[1],
  string.format('%.0f', ms - tonumber(ARGV[2])), '+inf')
return { alive and 1 or 0, dead, living }
