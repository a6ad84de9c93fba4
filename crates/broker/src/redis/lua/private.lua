-- Notes whether only its members may be in a room, and has all nodes look at who is in it.
-- KEYS  1 meta     ARGV  1 channel  2 '1': it is private, '0': it is not, '': as before
--       3 what nodes are told
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], 'private')
elseif ARGV[2] == '1' and redis.call('HEXISTS', KEYS[1], 'epoch') == 1 then
  redis.call('HSET', KEYS[1], 'private', '1')
end
redis.call('PUBLISH', ARGV[1], ARGV[3])
