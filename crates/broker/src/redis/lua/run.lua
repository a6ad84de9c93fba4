#!lua flags=allow-oom
-- Begins a new run of a partition, unless another node has done so since this one looked. Redis
-- accepts it even while it is full: without a run no room can be reconciled.
-- KEYS  1 run     ARGV  1 run that was found, or ''  2 the new one
-- Returns the present run.
local found = redis.call('GET', KEYS[1]) or ''
if found == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2])
  return ARGV[2]
end
return found
